//! What can be asked for. Numbers are checked by the library.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use twinlearn::{Error, EvaluationParams, KnnApproximation, KnnMethod, Metric, OutputDtype};

use crate::hyperparameters::GivenHyperparameters;

/// Learn encoders that make embeddings smaller and keep neighbours together.
#[derive(Debug, Parser)]
#[command(name = "twinlearn", version, about, arg_required_else_help = true)]
#[command(
    after_help = "Vectors are .npy, .npz, .fvecs, .bvecs, .ivecs, .fbin, .f16bin, .u8bin, .i8bin, \
                        .ibin, .parquet, .arrow or .safetensors files, known by their content; \
                        FILE::NAME names the array, column or tensor where a file has several; a \
                        folder or a pattern ('shards/*.npy') is read as one set. \
                        Exit codes: 0 ok, 1 failure, 2 usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Learn an encoder from vectors.
    Fit(Box<FitArgs>),
    /// Reduce vectors with a fitted model.
    Transform(TransformArgs),
    /// Find every row's nearest neighbours.
    Knn(KnnArgs),
    /// Find the codes that are nearest to queries.
    Search(SearchArgs),
    /// Tell what a reduction keeps, beside PCA and others at the same dimension.
    Eval(Box<EvalArgs>),
    /// Find how to keep vectors: enough neighbours in few bytes, or most in so many; and whether PCA would do.
    Advise(AdviseArgs),
    /// Show what a model file holds.
    Inspect(InspectArgs),
    /// Train on the repository's data and compare with PCA and others.
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, mut_arg("query_share", |share| share.requires("queries")))]
#[command(group = ArgGroup::new("destination").args(["output", "output_folder"]).required(true).multiple(true))]
#[command(after_help = "Examples:
  twinlearn fit X.npy -o model.safetensors -d 64
  twinlearn fit X.npy -o model.safetensors -d 32 --metric l2 --knn knn.npy
  twinlearn fit X.npy -o model.safetensors -d 64 --solver pca
  twinlearn fit X.npy -o model.safetensors -d 128 --codes pq:32
  twinlearn fit X.npy -o model.safetensors --bytes 32
  twinlearn fit passages.npy -o model.safetensors -d 64 --queries questions.npy
  twinlearn fit X.npy --output-folder run --recipe reference --log run/log.jsonl
  twinlearn fit X.npy --output-folder run --recipe reference --log run/log.jsonl --resume")]
pub(crate) struct FitArgs {
    /// The vectors, N × D.
    pub(crate) x: PathBuf,
    /// Where the model goes.
    #[arg(short, long, value_name = "MODEL", value_parser = file())]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hyperparameters: GivenHyperparameters,
    /// Take the dimension, the solver and the code that keep most in so many bytes a row, as advise finds
    /// them, in place of -d, --solver and --codes.
    #[arg(long, value_name = "B", conflicts_with_all = ["n_components", "solver", "codes", "nested", "from",
        "recipe", "encoder", "projector", "output_folder", "norm_layer", "init", "loss", "optimizer", "tau",
        "gaussian", "noise", "epochs", "warmup_epochs", "batch_size", "learning_rate", "lambd", "scale_loss",
        "query_share", "retain_projector", "n_neighbors", "knn_method", "knn_approximation", "queries", "knn"])]
    pub(crate) bytes: Option<usize>,
    /// With --bytes: after so many candidates were put in order by the full vectors.
    #[arg(long, value_name = "N", requires = "bytes")]
    pub(crate) rescore: Option<usize>,
    /// A neighbour graph computed before (.npy of integers, N × at least k).
    #[arg(long, value_name = "GRAPH")]
    pub(crate) knn: Option<PathBuf>,
    /// Where the neighbour graph goes (.npy, N × k, i64).
    #[arg(long, value_name = "GRAPH", value_parser = file())]
    pub(crate) save_knn: Option<PathBuf>,
    /// Rows that everything is learned from, at most: as many are drawn by the seed [default: all].
    #[arg(long, value_name = "N", conflicts_with_all = ["knn", "save_knn", "texts", "labels"])]
    pub(crate) fit_rows: Option<usize>,
    /// Queries whose nearest rows should be found in the reduced space, M × D: they are trained on
    /// beside the rows. The summary says what that added, by held-out queries, beside a second fit on
    /// the rows alone; a few thousand queries tell more than a few hundred.
    #[arg(long, value_name = "Q")]
    pub(crate) queries: Option<PathBuf>,
    /// Go on from this model: what it was made with are the defaults, its seed included, so that the
    /// same rows are held out; --epochs, --warmup-epochs and --learning-rate are those of a new fit.
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["init", "recipe"])]
    pub(crate) from: Option<PathBuf>,
    /// Keep the run in this folder: latest (to go on from), best (but with the reference recipe, which
    /// chooses none) and final model.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output_folder: Option<PathBuf>,
    /// Epochs after which latest is written anew.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "output_folder")]
    pub(crate) snapshot_every: usize,
    /// Go on with the run in the output folder; it ends with the bits it would have had.
    #[arg(long, requires = "output_folder")]
    pub(crate) resume: bool,
    /// Where each step is logged, a JSON object a line (- is standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Where steps and epochs are logged for TensorBoard.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// A page about the fit: one HTML file that needs no network.
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
    /// Texts for the page's map, one a line for each row.
    #[arg(long, value_name = "FILE", requires = "html")]
    pub(crate) texts: Option<PathBuf>,
    /// Classes for the page's map, one for each row (.npy of integers).
    #[arg(long, value_name = "Y", requires = "html")]
    pub(crate) labels: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Examples:
  twinlearn transform model.safetensors X.npy -o Z.npy
  twinlearn transform model.safetensors new.npy -o new_reduced.npy --l2-norm --dtype f16
  twinlearn transform model.safetensors X.npy -o codes.npy --bits 2
  twinlearn transform model.safetensors texts.parquet::embedding -o reduced.parquet")]
pub(crate) struct TransformArgs {
    /// The model.
    pub(crate) model: PathBuf,
    /// The vectors, N × D.
    pub(crate) x: PathBuf,
    /// Where the reduced vectors go: .npy, .fbin, .f16bin, .i8bin, .parquet or .arrow; codes .npy, .u8bin,
    /// .parquet or .arrow. A table keeps the other columns of a table.
    #[arg(short, long, value_name = "Z")]
    pub(crate) output: PathBuf,
    /// The first so many numbers of reduced vectors: a nested size of the model; any below d with
    /// solver pca or spectral [default: d].
    #[arg(long, value_name = "N")]
    pub(crate) dim: Option<usize>,
    /// Scale every reduced vector to length 1.
    #[arg(long)]
    pub(crate) l2_norm: bool,
    /// f32, f16 or int8: x is low + (code + 128) / 255 * (high - low), by the tensors ranges.low and
    /// ranges.high of the model (with --l2-norm unit_ranges) [default: what the output's name says, else f32].
    #[arg(long, value_name = "DTYPE", value_parser = choices::<OutputDtype>(&["f32", "f16", "int8"]))]
    pub(crate) dtype: Option<OutputDtype>,
    /// Write codes of so many bits a number, 1, 2, 4 or 8, as bytes: 1 for Hamming distances in databases.
    /// They are of rows at length 1 under cosine; Python's and Rust's decode puts them back.
    #[arg(long, value_name = "B", conflicts_with_all = ["dtype", "l2_norm"])]
    pub(crate) bits: Option<u64>,
    /// Write the codes that the model was fitted with (fit --codes).
    #[arg(long, conflicts_with_all = ["dtype", "l2_norm", "bits"])]
    pub(crate) codes: bool,
    /// The column of the reduced vectors in a table.
    #[arg(long, value_name = "NAME", default_value = "reduced")]
    pub(crate) column: String,
    /// Keep the column of the original vectors in a table.
    #[arg(long)]
    pub(crate) keep_original: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Examples:
  twinlearn knn X.npy -k 10 -o knn.npy
  twinlearn knn X.npy -k 100 -o knn.npy --metric l2 --method descent
  twinlearn knn X.npy -k 10 -o found.npy --queries Q.npy --memory 500M")]
pub(crate) struct KnnArgs {
    /// The vectors, N × D.
    pub(crate) x: PathBuf,
    /// Find the neighbours of these vectors among X, not of X among themselves.
    #[arg(long, value_name = "Q")]
    pub(crate) queries: Option<PathBuf>,
    /// Neighbours of each row.
    #[arg(short = 'k', long, value_name = "K", default_value_t = 10)]
    pub(crate) n_neighbors: usize,
    /// Where the neighbours go (.npy, N × k, i64): best first, a row never in its own list.
    #[arg(short, long, value_name = "KNN", value_parser = file())]
    pub(crate) output: PathBuf,
    /// How near rows are: cosine, ip or l2.
    #[arg(long, value_name = "METRIC", default_value = "cosine", value_parser = choices::<Metric>(Metric::NAMES))]
    pub(crate) metric: Metric,
    /// How they are found: auto (exact while that takes minutes, else descent), exact, descent or
    /// pq (product quantisation).
    #[arg(long, value_name = "METHOD", default_value = "auto", value_parser = choices::<KnnMethod>(KnnMethod::NAMES))]
    pub(crate) method: KnnMethod,
    /// The level of product quantisation: low (32 bytes a row), medium (16) or high (8).
    #[arg(long, value_name = "LEVEL", value_parser = choices::<KnnApproximation>(KnnApproximation::NAMES))]
    pub(crate) approximation: Option<KnnApproximation>,
    /// Seed of the approximate methods.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

/// The neighbours that `search` finds where -k is not given.
pub(crate) const FOUND: usize = 10;

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Examples:
  twinlearn search model.safetensors codes.npy --queries Q.npy -k 10 -o found.npy
  twinlearn search model.safetensors codes.npy --queries Q.npy -k 10 -o found.npy \\
      --rescore X.npy --candidates 100")]
pub(crate) struct SearchArgs {
    /// The model that made the codes.
    pub(crate) model: PathBuf,
    /// The codes, as transform --bits or --codes wrote them.
    pub(crate) codes: PathBuf,
    /// The queries, M × D, as they are before they are reduced.
    #[arg(long, value_name = "Q")]
    pub(crate) queries: PathBuf,
    /// Neighbours of each query.
    #[arg(short = 'k', long, value_name = "K", default_value_t = FOUND)]
    pub(crate) n_neighbors: usize,
    /// Where the neighbours go (.npy, M × k, i64): row numbers of the codes, best first.
    #[arg(short, long, value_name = "FOUND", value_parser = file())]
    pub(crate) output: PathBuf,
    /// Bits of a number in the codes [default: as a table tells, else as the bytes of a row say].
    #[arg(long, value_name = "B")]
    pub(crate) bits: Option<u64>,
    /// The codes are those that the model was fitted with.
    #[arg(long = "codes", conflicts_with = "bits")]
    pub(crate) own: bool,
    /// The size that transform --dim had [default: as a table tells, else d].
    #[arg(long, value_name = "N")]
    pub(crate) dim: Option<usize>,
    /// The original vectors, N × D: the candidates that codes find are put in order by them.
    #[arg(long, value_name = "X")]
    pub(crate) rescore: Option<PathBuf>,
    /// Candidates of each query that are put in order [default: 100, or -k where that is more, or all
    /// codes where these are fewer].
    #[arg(long, value_name = "N", requires = "rescore")]
    pub(crate) candidates: Option<usize>,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Examples:
  twinlearn eval --original X.npy --model model.safetensors --queries Q.npy
  twinlearn eval --original X.npy --reduced Z.npy --labels y.npy --html report.html
  twinlearn eval --original X.npy --model a.safetensors --model b.safetensors --queries Q.npy \\
      --qrels qrels.tsv --json out.json")]
pub(crate) struct EvalArgs {
    /// The original vectors, N × D.
    #[arg(long, value_name = "X")]
    pub(crate) original: PathBuf,
    /// Models to judge; the first is what others are compared with.
    #[arg(long, value_name = "MODEL", required_unless_present = "reduced")]
    pub(crate) model: Vec<PathBuf>,
    /// Rows that were reduced by anything, N × d, in the order of the original ones.
    #[arg(long, value_name = "Z")]
    pub(crate) reduced: Option<PathBuf>,
    /// Other rows, whose neighbours among the original ones are to be kept [default: some of the
    /// original rows, looked for among the others].
    #[arg(long, value_name = "Q")]
    pub(crate) queries: Option<PathBuf>,
    /// The queries, reduced as --reduced is.
    #[arg(long, value_name = "QZ", requires_all = ["reduced", "queries"])]
    pub(crate) reduced_queries: Option<PathBuf>,
    /// Which rows answer which queries: .npy (query, row, relevance) or text (TREC's four columns, or
    /// three). Adds nDCG@10, mAP and recall@100.
    #[arg(long, value_name = "FILE", requires = "queries")]
    pub(crate) qrels: Option<PathBuf>,
    /// Names of the queries in --qrels, one a line [default: row numbers].
    #[arg(long, value_name = "FILE", requires = "qrels")]
    pub(crate) query_ids: Option<PathBuf>,
    /// Names of the rows in --qrels, one a line [default: row numbers].
    #[arg(long, value_name = "FILE", requires = "qrels")]
    pub(crate) row_ids: Option<PathBuf>,
    /// A class for each row (.npy of integers). Adds the accuracy of neighbours' votes.
    #[arg(long, value_name = "Y")]
    pub(crate) labels: Option<PathBuf>,
    /// A class for each query, where --queries are given.
    #[arg(long, value_name = "QY", requires_all = ["labels", "queries"])]
    pub(crate) query_labels: Option<PathBuf>,
    /// A text for each row, one a line, for the page's map.
    #[arg(long, value_name = "FILE", requires = "html")]
    pub(crate) texts: Option<PathBuf>,
    /// How near rows are: cosine, ip or l2 [default: the model's, else cosine].
    #[arg(long, value_name = "METRIC", value_parser = choices::<Metric>(Metric::NAMES))]
    pub(crate) metric: Option<Metric>,
    /// Judge no baselines.
    #[arg(long)]
    pub(crate) no_baselines: bool,
    /// Judge codes of so many bits a number (1, 2, 4 or 8), beside other ways to keep vectors in bytes.
    #[arg(long, value_name = "B")]
    pub(crate) bits: Option<u64>,
    /// Judge the product code that the models were fitted with, beside the same.
    #[arg(long, conflicts_with = "bits", requires = "model")]
    pub(crate) codes: bool,
    /// Tell recall also after so many candidates were put in order by the full vectors.
    #[arg(long, value_name = "N")]
    pub(crate) rescore: Option<usize>,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Examples:
  twinlearn advise X.npy
  twinlearn advise X.npy --keep 0.8 --html advice.html
  twinlearn advise X.npy --bytes 32
  twinlearn advise X.npy --bytes 16 --rescore 100")]
pub(crate) struct AdviseArgs {
    /// The vectors, N × D.
    pub(crate) x: PathBuf,
    /// The share of each row's nearest neighbours that is to stay, in the fewest bytes [default: 0.9].
    #[arg(long, value_name = "SHARE", conflicts_with = "bytes")]
    pub(crate) keep: Option<f64>,
    /// The bytes that a row may take, in which as many neighbours as possible are to stay.
    #[arg(long, value_name = "B")]
    pub(crate) bytes: Option<usize>,
    /// Count what is kept after so many candidates were put in order by the full vectors.
    #[arg(long, value_name = "N")]
    pub(crate) rescore: Option<usize>,
    /// How near rows are: cosine, ip or l2.
    #[arg(long, value_name = "METRIC", default_value = "cosine", value_parser = choices::<Metric>(Metric::NAMES))]
    pub(crate) metric: Metric,
    /// Rows that everything is fitted on, at most.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) fit_rows: usize,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  twinlearn inspect model.safetensors
  twinlearn inspect model.safetensors --json")]
pub(crate) struct InspectArgs {
    /// The model.
    pub(crate) model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_help = "Example:
  twinlearn demo --data data")]
pub(crate) struct DemoArgs {
    /// The folder of the data: data/ of the repository.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    pub(crate) data: PathBuf,
    /// d, the dimension to reduce to.
    #[arg(short = 'd', long, value_name = "D", default_value_t = 32)]
    pub(crate) n_components: usize,
    /// Seed of everything random.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) resources: Resources,
}

/// How `eval` and `advise` measure, and what they write.
#[derive(Debug, Args)]
pub(crate) struct Measuring {
    /// k, the neighbours of a row.
    #[arg(short = 'k', long, value_name = "K", default_value_t = 10)]
    pub(crate) n_neighbors: usize,
    /// Rows whose neighbours are looked at, at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) n_queries: usize,
    /// Rows among which neighbours are looked for, at most (with eval's --qrels all). Among fewer
    /// than all, recall is another.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) max_rows: usize,
    /// Seed of what is drawn, and of training.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Everything that was found, as JSON (- is standard output).
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// A page about it: one HTML file that needs no network.
    #[arg(long, value_name = "PAGE")]
    pub(crate) html: Option<PathBuf>,
}

impl Measuring {
    pub(crate) fn params(&self, metric: Metric) -> EvaluationParams {
        EvaluationParams::default()
            .metric(metric)
            .n_neighbors(self.n_neighbors)
            .n_queries(self.n_queries)
            .max_rows(self.max_rows)
            .seed(self.seed)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Resources {
    /// Threads to work with; results do not depend on it [default: all cores].
    #[arg(long, value_name = "T")]
    pub(crate) threads: Option<usize>,
    /// Bound of the memory that is used, e.g. 500M or 2G: vectors that do not fit are read from where
    /// they are [default: half of what is free for the vectors, no bound for the rest].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<usize>,
    /// Tell in detail how the work will be done.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// The name of a file of something that is no text.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_stdout(&path) {
        true => Err("expected a file, as only text goes to standard output"),
        false => Ok(path),
    })
}

/// Whether an output's name means standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

impl Command {
    /// Whether something that was asked for goes to standard output: all else then goes to the other.
    pub(crate) fn fills_stdout(&self) -> bool {
        let outputs = match self {
            Self::Fit(args) => [&args.log, &args.html],
            Self::Eval(args) => [&args.measuring.json, &args.measuring.html],
            Self::Advise(args) => [&args.measuring.json, &args.measuring.html],
            _ => return false,
        };
        outputs.into_iter().flatten().any(|path| is_stdout(path))
    }
}

/// One of some names.
fn choices<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// A number of bytes, with K, M or G for thousands, millions or thousands of millions.
fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((end, 'K' | 'k')) => (&text[..end], 1_000),
        Some((end, 'M' | 'm')) => (&text[..end], 1_000_000),
        Some((end, 'G' | 'g')) => (&text[..end], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = digits.parse::<f64>().ok().map(|n| n * f64::from(unit));
    match bytes {
        // Above 2^53 a number of bytes is a typing error.
        Some(bytes) if (1.0..9e15).contains(&bytes) => Ok(bytes as usize),
        _ => Err("expected a number of bytes, e.g. 500M or 2G".to_owned()),
    }
}
