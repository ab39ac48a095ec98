//! Tables that are written batch by batch.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use ::parquet::schema::types::ColumnPath;
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int8Array, RecordBatch, UInt8Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Metadata, Schema, SchemaRef};
use twinlearn_core::error::{Error, Result};

use super::footer::Footed;
use crate::formats::GROUP;
use crate::{OutputDtype, OutputFile};

/// A Parquet or Arrow file under construction, as [`OutputFile`].
pub(crate) struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    file: Kind,
}

enum Kind {
    Parquet(Box<ArrowWriter<Footed<OutputFile>>>),
    Ipc(Box<FileWriter<OutputFile>>),
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// Starts a file: Parquet, or else Arrow. `plain` are columns without repeated values.
    pub(crate) fn create(
        path: &Path,
        parquet: bool,
        schema: SchemaRef,
        plain: &[&str],
    ) -> Result<Self> {
        let is_union = |field: &&Field| matches!(field.data_type(), DataType::Union(..));
        let union = schema.flattened_fields().into_iter().find(is_union);
        if let (true, Some(field)) = (parquet, union) {
            let got = format!("column {} of unions", field.name()).to_string();
            return Err(Error::file(path, "columns that Parquet has a type for", got));
        }
        let file = OutputFile::create(path)?;
        let file = if parquet {
            let mut properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_max_row_group_bytes(Some(GROUP));
            for column in plain {
                for item in ["list.element", "list.item"] {
                    let mut parts = vec![(*column).to_owned()];
                    parts.extend(item.split('.').map(str::to_owned));
                    properties =
                        properties.set_column_dictionary_enabled(ColumnPath::new(parts), false);
                }
            }
            let properties = Some(properties.build());
            let writer = ArrowWriter::try_new(Footed::new(file), Arc::clone(&schema), properties);
            Kind::Parquet(Box::new(writer.map_err(|e| failed(path, e))?))
        } else {
            let writer = FileWriter::try_new(file, &schema).map_err(|e| failed(path, e))?;
            Kind::Ipc(Box::new(writer))
        };
        Ok(Self { path: path.to_owned(), schema, file })
    }

    /// Appends rows: the columns, in the schema's order.
    pub(crate) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let Self { path, schema, file } = self;
        let batch = RecordBatch::try_new(Arc::clone(schema), columns);
        let batch = batch.map_err(|e| failed(path, e))?;
        match file {
            Kind::Parquet(writer) => writer.write(&batch).map_err(|e| failed(path, e)),
            Kind::Ipc(writer) => writer.write(&batch).map_err(|e| failed(path, e)),
        }
    }

    /// Finishes the file, as [`OutputFile::commit`].
    pub(crate) fn commit(self) -> Result<()> {
        let Self { path, file, .. } = self;
        let file = match file {
            Kind::Parquet(mut writer) => {
                writer.flush().map_err(|e| failed(&path, e))?;
                writer.inner_mut().hold();
                let file = writer.into_inner().map_err(|e| failed(&path, e))?;
                file.finish().map_err(|e| failed(&path, e))
            }
            Kind::Ipc(mut writer) => {
                writer.finish().map_err(|e| failed(&path, e))?;
                writer.into_inner().map_err(|e| failed(&path, e))
            }
        };
        file?.commit()
    }
}

fn failed(path: &Path, e: impl fmt::Display) -> Error {
    Error::io(path, "write", std::io::Error::other(e.to_string()))
}

/// The column of reduced vectors.
pub(crate) fn reduced_field(name: &str, dtype: OutputDtype, dim: i32) -> Field {
    Field::new(name, DataType::FixedSizeList(Arc::new(item_field(dtype)), dim), false)
}

fn item_field(dtype: OutputDtype) -> Field {
    let of = match dtype {
        OutputDtype::F32 => DataType::Float32,
        OutputDtype::F16 => DataType::Float16,
        OutputDtype::Int8 => DataType::Int8,
        OutputDtype::UInt8 => DataType::UInt8,
    };
    Field::new("item", of, false)
}

/// Reduced vectors, as their bytes, as such a column.
pub(crate) fn reduced_array(bytes: &[u8], dtype: OutputDtype, dim: i32) -> ArrayRef {
    let values: ArrayRef = match dtype {
        OutputDtype::F32 => Arc::new(Float32Array::from(numbers::<f32>(bytes))),
        OutputDtype::F16 => Arc::new(Float16Array::from(numbers::<half::f16>(bytes))),
        OutputDtype::Int8 => Arc::new(Int8Array::from(numbers::<i8>(bytes))),
        OutputDtype::UInt8 => Arc::new(UInt8Array::from(bytes.to_vec())),
    };
    Arc::new(FixedSizeListArray::new(Arc::new(item_field(dtype)), dim, values, None))
}

fn numbers<E: bytemuck::Pod>(bytes: &[u8]) -> Vec<E> {
    bytes.chunks_exact(size_of::<E>()).map(bytemuck::pod_read_unaligned).collect()
}

/// A schema without the dropped column, with the reduced one at its end, and with an entry of
/// metadata.
pub(crate) fn reduced_schema(
    kept: &[Arc<Field>],
    metadata: Vec<(String, String)>,
    reduced: Field,
) -> SchemaRef {
    let mut fields = kept.to_vec();
    fields.push(Arc::new(reduced));
    let metadata: Metadata = metadata.into_iter().collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}
