//! `twinlearn eval`

use std::path::{Path, PathBuf};

use twinlearn::{
    Bits, Error, EvaluationData, Metric, Model, Qrels, QrelsNames, Reduction, Result, VectorSource,
    Vectors, evaluate,
};
use twinlearn_report::Report;

use super::shared::{
    Described, Memory, create_outputs, measured, name, open, read_labels, read_lines, reading,
    write_html, write_json,
};
use crate::args::EvalArgs;
use crate::logs::Logs;
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, args: &EvalArgs) -> Result<()> {
    if let (Some(_), Some(_), None) = (&args.reduced, &args.queries, &args.reduced_queries) {
        return Err(Error::Invalid {
            name: "reduced".to_owned(),
            expected: "--reduced-queries beside it, as there are --queries".to_owned(),
            actual: "none".to_owned(),
        });
    }
    let ctx = ui.context(&args.resources, Logs::default())?;
    let models = args.model.iter().map(Model::load).collect::<Result<Vec<_>>>()?;
    let metrics: Vec<Metric> = models.iter().map(|model| model.params().metric).collect();
    let metric = match (&args.metric, &metrics[..]) {
        (Some(metric), _) => *metric,
        (None, [first, rest @ ..]) => match rest.iter().find(|other| *other != first) {
            Some(other) => {
                return Err(Error::Invalid {
                    name: "metric".to_owned(),
                    expected: "one to judge by, as the models have several".to_owned(),
                    actual: format!("{first} and {other}"),
                });
            }
            None => *first,
        },
        (None, []) => Metric::default(),
    };
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = open(&ctx, &args.original)?;
    let opened = |path: &Option<PathBuf>| path.as_ref().map(|path| open(&ctx, path)).transpose();
    let (queries, reduced) = (opened(&args.queries)?, opened(&args.reduced)?);
    let reduced_queries = opened(&args.reduced_queries)?;
    let query_labels = args.query_labels.as_deref().map(|path| read_labels(&ctx, path));
    let query_labels = query_labels.transpose()?;
    let described =
        Described::read(&ctx, args.labels.as_deref(), args.texts.as_deref(), x.n_rows())?;
    let qrels = match (&args.qrels, &queries) {
        (Some(path), Some(queries)) => {
            let lines = |path: &Option<PathBuf>| {
                path.as_ref().map(|path| read_lines(&ctx, path)).transpose()
            };
            let (of_queries, of_rows) = (lines(&args.query_ids)?, lines(&args.row_ids)?);
            let (n_queries, n_rows) = (queries.n_rows(), x.n_rows());
            let read = move |path| {
                let names = QrelsNames { queries: of_queries.as_deref(), rows: of_rows.as_deref() };
                Qrels::read(path, n_queries, n_rows, names)
            };
            Some(reading(&ctx, path, read)??)
        }
        _ => None,
    };
    let files = [
        &args.labels,
        &args.query_labels,
        &args.texts,
        &args.qrels,
        &args.query_ids,
        &args.row_ids,
    ];
    let files = files.into_iter().map(Option::as_deref);
    let of_models = args.model.iter().map(|path| Some(path.as_path()));
    let [json, html] = create_outputs(
        &args.measuring,
        &[Some(&x), queries.as_ref(), reduced.as_ref(), reduced_queries.as_ref()],
        &files.chain(of_models).collect::<Vec<_>>(),
    )?;

    let mut load =
        |source: Option<VectorSource>| source.map(|source| memory.load(&ctx, source)).transpose();
    let (queries, reduced_queries) = (load(queries)?, load(reduced_queries)?);
    let (reduced, x) = (load(reduced)?, memory.load(&ctx, x)?);
    let ctx = memory.bound(ctx);
    let mut data = EvaluationData::new(&x);
    if let Some(queries) = &queries {
        data = data.queries(queries);
    }
    if let Some(labels) = &described.labels {
        data = data.labels(labels);
    }
    if let Some(labels) = &query_labels {
        data = data.query_labels(labels);
    }
    if let Some(qrels) = &qrels {
        data = data.qrels(qrels);
    }
    let paths: Vec<&Path> = args.model.iter().chain(&args.reduced).map(PathBuf::as_path).collect();
    // Files of one name in several folders are called by their paths.
    let name_of =
        |path: &PathBuf| match paths.iter().filter(|other| name(other) == name(path)).count() {
            1 => name(path),
            _ => path.display().to_string(),
        };
    let given: Vec<(String, Reduction<'_>)> = args
        .model
        .iter()
        .zip(&models)
        .map(|(path, model)| (name_of(path), Reduction::Model(model)))
        .chain(args.reduced.iter().zip(&reduced).map(|(path, z)| {
            let queries = reduced_queries.as_ref().map(|q| q as &dyn Vectors);
            (name_of(path), Reduction::Reduced { x: z, queries })
        }))
        .collect();
    let given: Vec<(&str, Reduction<'_>)> = given.iter().map(|(n, r)| (n.as_str(), *r)).collect();
    let params = args.measuring.params(metric).baselines(!args.no_baselines).curves(html.is_some());
    let bits = args.bits.map(Bits::new).transpose()?;
    let params = params.bits(bits).codes(args.codes).candidates(args.rescore);
    let evaluation = evaluate(&ctx, &data, &given, &params)?;
    write_json(json, &evaluation)?;
    ui.show(&evaluation.to_string())?;
    if let (None, false) = (bits, args.codes) {
        for (path, model) in args.model.iter().zip(&models) {
            if let Ok(codec) = model.codec(None) {
                let spec = codec.spec();
                ui.show(&format!("{} makes codes {spec}: --codes judges them.", name_of(path)))?;
            }
        }
    }
    let Some(html) = html else { return Ok(()) };

    let seed = args.measuring.seed;
    let report = Report::new(format!("What {} keeps of {}", given[0].0, name(&args.original)));
    let report = match (models.first(), &reduced) {
        (Some(model), _) => {
            let z = model.view(&x, metric == Metric::Cosine)?;
            described.map(&ctx, report, &z, seed)?.model(model)
        }
        (None, Some(z)) => described.map(&ctx, report, z, seed)?,
        (None, None) => report,
    };
    let facts = measured(&args.original, metric, args.measuring.n_neighbors, seed);
    write_html(html, &report.evaluation(evaluation).facts("Measurement", &facts))
}
