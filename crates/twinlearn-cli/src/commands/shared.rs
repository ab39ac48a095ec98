//! What several sub-commands read and write.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use twinlearn::{
    Bits, Codec, Context, Error, FileVectors, Metric, Model, OutputFile, Result, VectorSource,
    Vectors, available_memory, check_output, read_integers,
};
use twinlearn_report::Report;

use crate::args::{Measuring, Resources, is_stdout};
use crate::terminal::print;

/// Bytes that the program takes of a bound on memory, and each of its threads, whatever they work on:
/// stacks, the buffers of matrix products, and what the heap has in pieces.
const OWN: usize = 12 << 20;
const OWN_PER_THREAD: usize = 6 << 20;

/// Shares out the memory there may be: half of it, at most, to vectors, what is left to the work.
pub(crate) struct Memory {
    bound: Option<usize>,
    vectors: usize,
    /// By vectors, and by the program itself.
    held: usize,
}

impl Memory {
    pub(crate) fn of(ctx: &Context, resources: &Resources) -> Result<Self> {
        let own = OWN + OWN_PER_THREAD * ctx.n_threads();
        let bound = resources.memory;
        let rest = match bound {
            Some(bytes) if bytes < 2 * own => {
                return Err(Error::Invalid {
                    name: "memory".to_owned(),
                    expected: format!("at least {} MB", (2 * own).div_ceil(1_000_000)),
                    actual: format!("{} MB", bytes as f64 / 1e6),
                });
            }
            bytes => bytes.map(|bytes| bytes - own),
        };
        let vectors = rest.unwrap_or_else(available_memory) / 2;
        Ok(Self { bound, vectors, held: own })
    }

    /// Makes vectors ready.
    pub(crate) fn load(&mut self, ctx: &Context, source: VectorSource) -> Result<FileVectors> {
        self.took(FileVectors::load(ctx, source, self.vectors)?)
    }

    /// Makes some of the vectors ready.
    pub(crate) fn load_rows(
        &mut self,
        ctx: &Context,
        source: &VectorSource,
        ids: &[u32],
    ) -> Result<FileVectors> {
        self.took(FileVectors::load_rows(ctx, source, ids, self.vectors)?)
    }

    fn took(&mut self, x: FileVectors) -> Result<FileVectors> {
        self.vectors -= x.n_held_bytes();
        self.held += x.n_held_bytes();
        Ok(x)
    }

    /// Leaves the rest to the work.
    pub(crate) fn bound(&self, ctx: Context) -> Context {
        match self.bound {
            Some(bound) => ctx.memory(bound).reserve(self.held),
            None => ctx,
        }
    }
}

/// The model in a file, or that of its first `dim` numbers.
pub(crate) fn load_model(path: &Path, dim: Option<usize>) -> Result<Model> {
    let model = Model::load(path)?;
    match dim {
        Some(dim) => model.prefix(dim),
        None => Ok(model),
    }
}

/// The codec that is asked for: of so many bits a number, or the model's own.
pub(crate) fn codec(model: &Model, bits: Option<u64>, own: bool) -> Result<Option<Codec>> {
    let bits = bits.map(Bits::new).transpose()?;
    (bits.is_some() || own).then(|| model.codec(bits)).transpose()
}

/// Refuses outputs that are inputs, or each other.
pub(crate) fn check_outputs(
    outputs: &[Option<&Path>],
    sources: &[Option<&VectorSource>],
    others: &[Option<&Path>],
) -> Result<()> {
    let mut taken: Vec<&Path> = sources.iter().flatten().flat_map(|x| x.files()).collect();
    taken.extend(others.iter().flatten());
    for output in outputs.iter().flatten() {
        check_output(output, taken.iter().copied())?;
        taken.push(output);
    }
    Ok(())
}

/// What `read` makes of a file; Ctrl-C ends it.
pub(crate) fn reading<R: Send + 'static>(
    ctx: &Context,
    path: &Path,
    read: impl FnOnce(PathBuf) -> R + Send + 'static,
) -> Result<R> {
    let path = path.to_owned();
    ctx.abandonable(move || read(path))
}

/// Looks at vectors.
pub(crate) fn open(ctx: &Context, path: &Path) -> Result<VectorSource> {
    reading(ctx, path, VectorSource::open)?
}

/// One number for each row, of a `.npy` file.
pub(crate) fn read_labels(ctx: &Context, path: &Path) -> Result<Vec<i64>> {
    let (shape, values) = reading(ctx, path, read_integers)??;
    match shape[..] {
        [_] | [_, 1] => Ok(values),
        _ => Err(Error::File {
            path: path.to_owned(),
            expected: "one class for each row".to_owned(),
            actual: format!("shape {shape:?}"),
        }),
    }
}

/// The lines of a text file.
pub(crate) fn read_lines(ctx: &Context, path: &Path) -> Result<Vec<String>> {
    match reading(ctx, path, fs::read_to_string)? {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(source) => Err(Error::Io { path: path.to_owned(), action: "read", source }),
    }
}

/// What is known of each row beside its vector.
pub(crate) struct Described {
    pub(crate) labels: Option<Vec<i64>>,
    pub(crate) texts: Option<Vec<String>>,
}

impl Described {
    /// Reads what is given, one for each of `n_rows` rows: before any work.
    pub(crate) fn read(
        ctx: &Context,
        labels: Option<&Path>,
        texts: Option<&Path>,
        n_rows: usize,
    ) -> Result<Self> {
        let labels = labels.map(|path| one_each(path, read_labels(ctx, path)?, n_rows));
        let texts = texts.map(|path| one_each(path, read_lines(ctx, path)?, n_rows));
        let (labels, texts) = (labels.transpose()?, texts.transpose()?);
        Ok(Self { labels, texts })
    }

    /// Adds a map of the reduced rows to a page.
    pub(crate) fn map(
        &self,
        ctx: &Context,
        report: Report,
        z: &dyn Vectors,
        seed: u64,
    ) -> Result<Report> {
        let names = |labels: &Vec<i64>| labels.iter().map(ToString::to_string).collect();
        let labels: Option<Vec<String>> = self.labels.as_ref().map(names);
        report.map(ctx, z, labels.as_deref(), self.texts.as_deref(), seed)
    }
}

fn one_each<T>(path: &Path, found: Vec<T>, n_rows: usize) -> Result<Vec<T>> {
    if found.len() == n_rows {
        return Ok(found);
    }
    Err(Error::File {
        path: path.to_owned(),
        expected: format!("{n_rows}, one for each row"),
        actual: found.len().to_string(),
    })
}

/// The file name, for a heading.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Where text goes that was asked for: a file, or standard output.
pub(crate) enum TextOutput {
    File(OutputFile),
    Stdout,
}

impl TextOutput {
    /// `-` is standard output.
    fn create(path: &Path, endings: &[&str]) -> Result<Self> {
        match is_stdout(path) {
            true => Ok(Self::Stdout),
            false => OutputFile::create_as(path, endings).map(Self::File),
        }
    }

    fn write(self, text: &str) -> Result<()> {
        match self {
            Self::Stdout => print(text),
            Self::File(mut file) => {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.commit()
            }
        }
    }
}

/// Begins the JSON and the page of a measurement, which are no inputs: before the long work, so that a
/// folder that cannot be written to fails at once.
pub(crate) fn create_outputs(
    measuring: &Measuring,
    sources: &[Option<&VectorSource>],
    others: &[Option<&Path>],
) -> Result<[Option<TextOutput>; 2]> {
    let [json, html] = [&measuring.json, &measuring.html].map(Option::as_deref);
    check_outputs(&[json, html], sources, others)?;
    let json = json.map(|path| TextOutput::create(path, &["json"])).transpose()?;
    Ok([json, html.map(create_html).transpose()?])
}

pub(crate) fn create_html(path: &Path) -> Result<TextOutput> {
    TextOutput::create(path, &["html", "htm"])
}

pub(crate) fn write_json(output: Option<TextOutput>, value: &impl Serialize) -> Result<()> {
    let Some(output) = output else { return Ok(()) };
    // Finite numbers, strings and lists always serialise.
    output.write(&serde_json::to_string_pretty(value).unwrap_or_default())
}

pub(crate) fn write_html(output: TextOutput, report: &Report) -> Result<()> {
    output.write(report.to_html().trim_end())
}

/// Facts about a measurement.
pub(crate) fn measured(
    x: &Path,
    metric: Metric,
    k: usize,
    seed: u64,
) -> [(&'static str, String); 5] {
    [
        ("vectors", x.display().to_string()),
        ("metric", metric.to_string()),
        ("n_neighbors", k.to_string()),
        ("seed", seed.to_string()),
        ("twinlearn", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}
