//! `twinlearn demo`: the main job on real data, measured beside what people use today.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use twinlearn::{
    Context, Error, Estimate, FileVectors, KnnGraph, KnnParams, LinearMap, Matrix, Params,
    ParamsBuilder, Pca, Result, Solver, Trainer, Vectors, knn_accuracy, knn_search, read_integers,
    recall_at_k,
};

use crate::args::DemoArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::Ui;

/// Neighbours that are compared.
const K: usize = 10;
/// Test rows whose neighbours are shown, and how many of them.
const SHOWN_ROWS: [usize; 3] = [3, 8, 12];
const SHOWN_NEIGHBOURS: usize = 3;

struct Data {
    train: FileVectors,
    test: FileVectors,
    train_labels: Vec<i64>,
    test_labels: Vec<i64>,
    train_texts: Vec<String>,
    test_texts: Vec<String>,
}

impl Data {
    fn load(folder: &Path) -> Result<Self> {
        if !folder.join("train_x.npy").is_file() {
            return Err(Error::File {
                path: folder.to_owned(),
                expected: "the demo's data (run in the repository, or give --data)".to_owned(),
                actual: "no train_x.npy".to_owned(),
            });
        }
        let texts = |name: &str| -> Result<Vec<String>> {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
                path,
                action: "read",
                source,
            })?;
            // The synset id is of no interest to a reader.
            Ok(text.lines().map(|l| l.split_once(' ').map_or(l, |p| p.1).to_owned()).collect())
        };
        let data = Self {
            train: FileVectors::open(folder.join("train_x.npy"))?,
            test: FileVectors::open(folder.join("test_x.npy"))?,
            train_labels: read_integers(folder.join("train_y.npy"))?.1,
            test_labels: read_integers(folder.join("test_y.npy"))?.1,
            train_texts: texts("train.txt")?,
            test_texts: texts("test.txt")?,
        };
        let (n_train, n_test) = (data.train.n_rows(), data.test.n_rows());
        let lengths = [
            (data.train_labels.len(), n_train),
            (data.train_texts.len(), n_train),
            (data.test_labels.len(), n_test),
            (data.test_texts.len(), n_test),
        ];
        match lengths.into_iter().find(|(found, wanted)| found != wanted) {
            None => Ok(data),
            Some((found, wanted)) => Err(Error::File {
                path: folder.to_owned(),
                expected: format!("{wanted} labels and texts, one for each row"),
                actual: found.to_string(),
            }),
        }
    }
}

/// A row of the table.
struct Outcome {
    name: &'static str,
    dim: usize,
    elapsed: Option<Duration>,
    recall: f64,
    accuracy: f64,
    /// The neighbours of every test row.
    found: KnnGraph,
}

pub(crate) fn run(ui: &Ui, args: &DemoArgs) -> Result<()> {
    let ctx = ui.context(&args.resources, Logs::default())?;
    let data = Data::load(&args.data)?;
    let (d, dim) = (args.n_components, data.train.dim());
    print(&format!(
        "{} WordNet definitions as {dim}-dimensional sentence embeddings (f16), reduced to {d}; \
         measured on {} others.",
        data.train.n_rows(),
        data.test.n_rows()
    ))?;

    let knn = KnnParams::new(K);
    let truth = knn_search(&ctx, &data.test, &data.train, &knn)?;
    let full = outcome(&data, "full vectors", dim, None, &truth, truth.clone())?;
    let mut outcomes = vec![full];
    let mut try_out = |name, reduce: &dyn Fn() -> Result<Reduced>| -> Result<()> {
        let start = Instant::now();
        let reduced = reduce()?;
        let elapsed = start.elapsed();
        let found = knn_search(&ctx, &reduced.test, &reduced.train, &knn)?;
        outcomes.push(outcome(&data, name, d, Some(elapsed), &truth, found)?);
        Ok(())
    };
    try_out("truncation", &|| by_map(&ctx, &data, &LinearMap::truncation(dim, d)?))?;
    try_out("random projection", &|| {
        by_map(&ctx, &data, &LinearMap::random_projection(dim, d, args.seed)?)
    })?;
    for (name, power) in [("PCA", 0.0), ("whitened PCA", 1.0)] {
        try_out(name, &|| {
            let pca = Pca::fit(&ctx, &data.train)?.ok_or_else(Pca::equal_rows)?;
            by_map(&ctx, &data, &pca.projection(d, power)?)
        })?;
    }
    let params = || Params::builder().n_components(d).seed(args.seed);
    try_out("best PCA", &|| by_tldr(&ctx, &data, params().solver(Solver::Pca)))?;
    try_out("TLDR", &|| by_tldr(&ctx, &data, params()))?;

    print(&table(&outcomes))?;
    let error = (0.25 / data.test.n_rows() as f64).sqrt();
    print(&format!(
        "recall@{K}: share of the {K} nearest neighbours by the full vectors that are found again; \
         accuracy: {K}-NN\nclassification into 41 classes (standard error at most {error:.3}); \
         bytes as f32; seconds: fit and transform.\n"
    ))?;
    print(&verdict(&outcomes, &truth, args.seed)?)?;
    print(&neighbours(&data, &outcomes))
}

/// Both sets, reduced.
struct Reduced {
    train: Matrix,
    test: Matrix,
}

fn by_map(ctx: &Context, data: &Data, map: &LinearMap) -> Result<Reduced> {
    Ok(Reduced { train: map.transform(ctx, &data.train)?, test: map.transform(ctx, &data.test)? })
}

fn by_tldr(ctx: &Context, data: &Data, params: ParamsBuilder) -> Result<Reduced> {
    let model = Trainer::new(params.build()?).fit(ctx, &data.train)?.model;
    Ok(Reduced {
        train: model.transform(ctx, &data.train, false)?,
        test: model.transform(ctx, &data.test, false)?,
    })
}

fn outcome(
    data: &Data,
    name: &'static str,
    dim: usize,
    elapsed: Option<Duration>,
    truth: &KnnGraph,
    found: KnnGraph,
) -> Result<Outcome> {
    Ok(Outcome {
        name,
        dim,
        elapsed,
        recall: recall_at_k(truth.ids(), found.ids(), K)?,
        accuracy: knn_accuracy(found.ids(), K, &data.train_labels, &data.test_labels)?,
        found,
    })
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n{:<18} {:>4} {:>10} {:>9} {:>12} {:>8}\n",
        "method",
        "dim",
        format!("recall@{K}"),
        "accuracy",
        "bytes/vector",
        "seconds"
    );
    for o in outcomes {
        let seconds = o.elapsed.map_or("-".to_owned(), |e| format!("{:.2}", e.as_secs_f64()));
        let _ = writeln!(
            text,
            "{:<18} {:>4} {:>10.3} {:>9.3} {:>12} {:>8}",
            o.name,
            o.dim,
            o.recall,
            o.accuracy,
            4 * o.dim,
            seconds
        );
    }
    text
}

/// The last method beside the one before it, by the neighbours of the same test rows.
fn verdict(outcomes: &[Outcome], truth: &KnnGraph, seed: u64) -> Result<String> {
    let [.., other, ours] = outcomes else { return Ok(String::new()) };
    let of_each = |outcome: &Outcome| -> Result<Vec<f64>> {
        let recall = |i| recall_at_k(truth.neighbors(i), outcome.found.neighbors(i), K);
        (0..truth.n_rows()).map(recall).collect()
    };
    let estimate = Estimate::paired(&of_each(ours)?, &of_each(other)?, seed)?;
    Ok(format!("Recall of {}: {}.\n", ours.name, estimate.beside(other.name)))
}

fn neighbours(data: &Data, outcomes: &[Outcome]) -> String {
    let (Some(before), Some(after)) = (outcomes.first(), outcomes.last()) else {
        return String::new();
    };
    let mut text = String::new();
    for &row in SHOWN_ROWS.iter().filter(|&&row| row < data.test_texts.len()) {
        let _ = writeln!(text, "{}", data.test_texts[row]);
        let truth = before.found.neighbors(row);
        for outcome in [before, after] {
            for (i, id) in outcome.found.neighbors(row)[..SHOWN_NEIGHBOURS].iter().enumerate() {
                let label = if i == 0 { format!("{} dims", outcome.dim) } else { String::new() };
                let mark = if truth.contains(id) { ' ' } else { '*' };
                let _ = writeln!(text, "  {label:>8} {mark} {}", data.train_texts[*id as usize]);
            }
        }
        text.push('\n');
    }
    let _ = write!(text, "* not among the {K} nearest by the full vectors");
    text
}
