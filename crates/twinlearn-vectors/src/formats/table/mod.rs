//! Columns of Parquet and Arrow files.

mod batches;
mod column;
mod footer;
mod guard;
mod ipc;
mod parquet;
mod pieces;
mod places;
mod shapes;
mod stream;
mod thrift;
mod writer;

pub(crate) use self::batches::Table;
pub(crate) use self::column::Column;
pub(super) use self::stream::open;
pub(crate) use self::writer::{TableWriter, reduced_array, reduced_field, reduced_schema};
