//! Files of reduced vectors: plain arrays, and tables that keep their other columns.

use std::path::Path;

use twinlearn_core::error::{Error, Result};

use super::formats::GROUP;
use super::source::VectorSource;
use super::{ArrayWriter, OutputDtype, Vectors};

/// What a file of reduced vectors will be.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "arrow"), allow(dead_code))] // Some of it is of tables alone.
pub struct ReducedFile<'a> {
    /// Where it goes.
    pub path: &'a Path,
    /// d.
    pub n_components: usize,
    /// By default the one that the extension says, else `f32`.
    pub dtype: Option<OutputDtype>,
    /// The name of the column, in tables.
    pub column: &'a str,
    /// Whether a table keeps the column of the original vectors.
    pub keep_original: bool,
    /// An entry of metadata, in tables.
    pub note: Option<(String, String)>,
}

/// The formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Bin(OutputDtype),
    Parquet,
    Arrow,
}

impl ReducedFile<'_> {
    fn format(&self) -> Result<Format> {
        let extension = self.path.extension().and_then(|e| e.to_str()).unwrap_or("");
        Ok(match extension.to_lowercase().as_str() {
            "npy" => Format::Npy,
            "fbin" => Format::Bin(OutputDtype::F32),
            "f16bin" => Format::Bin(OutputDtype::F16),
            "i8bin" => Format::Bin(OutputDtype::Int8),
            "u8bin" => Format::Bin(OutputDtype::UInt8),
            "parquet" | "pq" => Format::Parquet,
            "arrow" | "feather" | "ipc" => Format::Arrow,
            _ => {
                let expected =
                    "a name ending in .npy, .fbin, .f16bin, .i8bin, .u8bin, .parquet or .arrow";
                let name = self.path.file_name().unwrap_or_default().to_string_lossy();
                return Err(Error::file(self.path, expected, format_args!("{name:?}")));
            }
        })
    }

    /// Whether it has columns.
    ///
    /// # Errors
    /// When its name says no format.
    pub fn is_table(&self) -> Result<bool> {
        Ok(matches!(self.format()?, Format::Parquet | Format::Arrow))
    }

    /// The type of its numbers.
    pub fn dtype(&self) -> Result<OutputDtype> {
        match (self.format()?, self.dtype) {
            (Format::Bin(own), Some(dtype)) if own != dtype => Err(Error::invalid(
                "dtype",
                format_args!("{own} in {}", self.path.display()),
                dtype,
            )),
            (Format::Bin(own), _) => Ok(own),
            (_, dtype) => Ok(dtype.unwrap_or_default()),
        }
    }

    /// Bytes that writing it holds, beside a run of rows: of a Parquet file a row group, as it is and
    /// encoded.
    pub fn held_bytes(&self, source: &VectorSource) -> Result<usize> {
        let group = GROUP.min(source.n_rows().saturating_mul(4 * self.n_components));
        Ok(match self.format()? {
            Format::Parquet => 2 * group + source.tables_bytes(),
            Format::Arrow => source.tables_bytes(),
            _ => 0,
        })
    }

    /// Starts it, for what becomes of the vectors of `source`.
    pub fn create<'s>(&self, source: &'s VectorSource) -> Result<ReducedWriter<'s>> {
        let shape = [source.n_rows(), self.n_components];
        let dtype = self.dtype()?;
        let file = match self.format()? {
            Format::Npy => Begun::Array(ArrayWriter::npy(self.path, dtype, shape)?),
            Format::Bin(_) => Begun::Array(ArrayWriter::bin(self.path, dtype, shape)?),
            #[cfg(feature = "arrow")]
            format => {
                let parquet = format == Format::Parquet;
                Begun::Table(table::ReducedTable::create(self, source, parquet, dtype)?)
            }
            #[cfg(not(feature = "arrow"))]
            _ => {
                let expected = "a build with the feature arrow to write it";
                return Err(Error::file(self.path, expected, "one without"));
            }
        };
        Ok(ReducedWriter { source, file })
    }
}

/// What makes the bytes of reduced rows from the number of a run's first row and the run.
type Reduce<'a> = dyn FnMut(usize, &dyn Vectors) -> Result<Vec<u8>> + 'a;

/// A file of reduced vectors under construction.
pub struct ReducedWriter<'s> {
    source: &'s VectorSource,
    file: Begun<'s>,
}

enum Begun<'s> {
    Array(ArrayWriter),
    #[cfg(feature = "arrow")]
    Table(table::ReducedTable<'s>),
    #[cfg(not(feature = "arrow"))]
    #[allow(dead_code)]
    Never(std::convert::Infallible, std::marker::PhantomData<&'s ()>),
}

impl ReducedWriter<'_> {
    /// Writes all of it, in runs of about `run_rows` rows.
    pub fn write(self, run_rows: usize, reduce: &mut Reduce<'_>) -> Result<()> {
        match self.file {
            Begun::Array(mut array) => {
                self.source.each_run(run_rows, |first, rows| array.write(&reduce(first, rows)?))?;
                array.commit()
            }
            #[cfg(feature = "arrow")]
            Begun::Table(table) => table.write(self.source, run_rows, reduce),
            #[cfg(not(feature = "arrow"))]
            Begun::Never(never, _) => match never {},
        }
    }
}

#[cfg(feature = "arrow")]
mod table {
    use std::sync::Arc;

    use arrow_array::RecordBatch;
    use arrow_schema::Field;

    use super::super::formats::Rows;
    use super::super::formats::table::{Column, Table, TableWriter};
    use super::super::formats::table::{reduced_array, reduced_field, reduced_schema};
    use super::super::held::HeldRows;
    use super::super::source::{Part, VectorSource, read_ahead};
    use super::{OutputDtype, Reduce, ReducedFile};
    use twinlearn_core::error::{Error, Result};

    /// Columns, and entries of metadata.
    type Kept = (Vec<Arc<Field>>, Vec<(String, String)>);

    /// A table of reduced vectors under construction.
    pub(super) struct ReducedTable<'s> {
        writer: TableWriter,
        /// Those whose columns stay, and the column of vectors in each.
        tables: Vec<(&'s Table, &'s Column)>,
        keep_original: bool,
        dtype: OutputDtype,
        dim: i32,
    }

    impl<'s> ReducedTable<'s> {
        pub(super) fn create(
            file: &ReducedFile<'_>,
            source: &'s VectorSource,
            parquet: bool,
            dtype: OutputDtype,
        ) -> Result<Self> {
            let dim = i32::try_from(file.n_components).map_err(|_| {
                Error::invalid("n_components", "fewer than 2^31", file.n_components)
            })?;
            let table = |part: &'s Part| match &part.rows {
                Rows::Stream { stream, .. } => stream.table(),
                Rows::Flat(_) => None,
            };
            let tables: Option<Vec<_>> = source.parts.iter().map(table).collect();
            let tables = tables.unwrap_or_default();
            if tables.is_empty() && file.keep_original {
                let expected = "vectors of a table (.parquet or .arrow), whose columns stay";
                return Err(Error::invalid("keep_original", expected, source.name().display()));
            }
            let (kept, mut metadata) = kept(file, &tables)?;
            metadata.extend(file.note.clone());
            let schema = reduced_schema(&kept, metadata, reduced_field(file.column, dtype, dim));
            let writer = TableWriter::create(file.path, parquet, schema, &[file.column])?;
            Ok(Self { writer, tables, keep_original: file.keep_original, dtype, dim })
        }

        pub(super) fn write(
            self,
            source: &VectorSource,
            run_rows: usize,
            reduce: &mut Reduce<'_>,
        ) -> Result<()> {
            let Self { mut writer, tables, keep_original, dtype, dim } = self;
            if tables.is_empty() {
                source.each_run(run_rows, |first, rows| {
                    writer.write(vec![reduced_array(&reduce(first, rows)?, dtype, dim)])
                })?;
                return writer.commit();
            }
            let mut row = 0;
            for (table, column) in tables {
                let mut in_table = 0;
                let mut batches = table.batches(None, column.batch_rows())?;
                let read = |send: &mut dyn FnMut(RecordBatch) -> Result<()>| {
                    while let Some(batch) = batches.next()? {
                        send(batch)?;
                    }
                    Ok(())
                };
                read_ahead(read, |batch| {
                    let vectors = batch.column(column.index);
                    let numbers = column.numbers(&table.file, vectors, in_table)?;
                    let rows = HeldRows::new(numbers.as_bytes(), column.dtype, source.dim());
                    let reduced = reduced_array(&reduce(row, &rows)?, dtype, dim);
                    let columns = batch.columns().iter().enumerate();
                    let kept = columns.filter(|(i, _)| keep_original || !column.is_all_of(*i));
                    let kept = kept.map(|(_, values)| Arc::clone(values));
                    (row, in_table) = (row + batch.num_rows(), in_table + batch.num_rows());
                    writer.write(kept.chain([reduced]).collect())
                })?;
            }
            writer.commit()
        }
    }

    /// The columns that stay, which all tables must have alike, and the first one's metadata.
    fn kept(file: &ReducedFile<'_>, tables: &[(&Table, &Column)]) -> Result<Kept> {
        let Some((first, _)) = tables.first() else { return Ok(Default::default()) };
        let of = |(table, column): &(&Table, &Column)| -> Vec<Arc<Field>> {
            let fields = table.schema.fields().iter().enumerate();
            let fields = fields.filter(|(i, _)| file.keep_original || !column.is_all_of(*i));
            fields.map(|(_, field)| Arc::clone(field)).collect()
        };
        let kept = of(&tables[0]);
        for other in tables {
            if of(other) != kept {
                let expected = format!("the columns of {}", first.file.path().display());
                return Err(other.0.file.wrong(expected, "others"));
            }
        }
        if let Some(field) = kept.iter().find(|field| field.name() == file.column) {
            return Err(Error::invalid(
                "column",
                "a name that no column has that is kept",
                format_args!("{:?}", field.name()),
            ));
        }
        let metadata = first.schema.metadata();
        Ok((kept, metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect()))
    }
}
