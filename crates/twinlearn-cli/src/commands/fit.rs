//! `twinlearn fit`

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use twinlearn::{
    Checkpoints, Context, Error, Estimate, EvaluationData, EvaluationParams, FileVectors, Fit,
    FitData, FitReport, Goal, Init, KnnGraph, Loss, MODEL_ENDING, Metric, Model, NestedReport,
    OutputFile, Params, QueryRecord, Reduction, Result, Solver, Trainer, ValidationReport, advise,
    evaluate, read_integers, sample_rows, write_npy_integers,
};
use twinlearn_report::Report;

use super::advise::{quoted, steps};
use super::shared::{
    Described, Memory, check_outputs, create_html, measured, name, open, reading, write_html,
};
use crate::args::{FOUND, FitArgs};
use crate::logs::Logs;
use crate::terminal::lock;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &FitArgs) -> Result<()> {
    let model = args.from.as_deref().map(Model::load).transpose()?;
    let params = params(args, model.as_ref())?;
    check_effects(args, &params)?;
    let logs = Logs {
        steps: args.log.as_deref(),
        tensorboard: args.tensorboard.as_deref(),
        folder: args.output_folder.as_deref(),
        resume: args.resume,
    };
    let ctx = ui.context(&args.resources, logs)?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = open(&ctx, &args.x)?;
    let graph = args.knn.as_deref().map(|path| read_graph(&ctx, path, x.n_rows())).transpose()?;
    let queries = args.queries.as_ref().map(|path| open(&ctx, path)).transpose()?;
    // --fit-rows are fewer.
    let n_rows = args.fit_rows.map_or(x.n_rows(), |rows| rows.min(x.n_rows()));
    let has_graph = graph.is_some() || params.needs_whole_graph(n_rows);
    if let (false, Some(path)) = (has_graph, &args.save_knn) {
        return Err(Error::Invalid {
            name: "save_knn".to_owned(),
            expected: format!(
                "no graph to save where the neighbours of {} of {n_rows} rows are found",
                params.n_anchors(n_rows, x.dim())
            ),
            actual: path.display().to_string(),
        });
    }
    let described =
        Described::read(&ctx, args.labels.as_deref(), args.texts.as_deref(), x.n_rows())?;
    let [latest, best, last] = ["latest", "best", "final"].map(|name| {
        let folder = args.output_folder.as_ref()?;
        Some(folder.join(format!("{name}.{MODEL_ENDING}")))
    });
    // A run's own graph is read by the run.
    let others = [&args.from, &args.knn, &args.labels, &args.texts];
    let [output, save_knn, html, log] =
        [&args.output, &args.save_knn, &args.html, &args.log].map(Option::as_deref);
    check_outputs(
        &[output, save_knn, html, log, latest.as_deref(), best.as_deref(), last.as_deref()],
        &[Some(&x), queries.as_ref()],
        &others.map(Option::as_deref),
    )?;
    // Before the long work, so that a folder that cannot be written to fails at once.
    let create = |path, ending| OutputFile::create_as(path, &[ending]);
    let output = output.map(|path| create(path, MODEL_ENDING)).transpose()?;
    let save_knn = save_knn.map(|path| create(path, "npy")).transpose()?;
    let html = html.map(create_html).transpose()?;

    let rows = args.fit_rows.filter(|&n| n < x.n_rows());
    let rows = rows.map(|n| sample_rows(params.seed, x.n_rows(), n));
    let x = match rows {
        Some(rows) => memory.load_rows(&ctx, &x, &rows)?,
        None => memory.load(&ctx, x)?,
    };
    let queries = queries.map(|queries| memory.load(&ctx, queries)).transpose()?;
    let ctx = memory.bound(ctx);

    let advice = args.bytes.map(|bytes| advice(&ctx, (&x, bytes), args, &params)).transpose()?;
    let params = match &advice {
        Some((params, _)) => params.clone(),
        None => params,
    };
    let run = Arc::<Run>::default();
    let mut trainer = Trainer::new(params);
    if let Some(model) = model {
        trainer = trainer.warm_start(model);
    }
    if let Some(folder) = &args.output_folder {
        let checkpoints = Checkpoints::new(folder).every(args.snapshot_every);
        trainer = trainer.checkpoints(checkpoints.resume(args.resume));
    }
    if html.is_some() {
        let (steps, epochs) = (Arc::clone(&run), Arc::clone(&run));
        trainer = trainer
            .on_step(move |report| {
                lock(&steps.losses).push((report.step, report.loss));
                ControlFlow::Continue(())
            })
            .on_epoch(move |report| {
                lock(&epochs.recalls).extend(report.recall.map(|recall| (report.step, recall)));
                ControlFlow::Continue(())
            });
    }
    let mut data = FitData::new(&x);
    if let Some(graph) = graph {
        data = data.graph(graph);
    }
    if let Some(queries) = &queries {
        data = data.queries(queries);
    }
    let fit = trainer.fit_data(&ctx, data)?;
    if let Some(mut output) = output {
        output.write_all(&fit.model.to_bytes()?)?;
        output.commit()?;
    }
    if let (Some(file), Some(graph)) = (save_knn, &fit.graph) {
        write_npy_integers(file, graph.n_rows(), &graph.to_indices())?;
    }
    if let Some(html) = html {
        write_html(html, &page(&ctx, args, (&x, &described), &fit, &run)?)?;
    }
    let place = [&args.output, &args.output_folder].into_iter().flatten().next();
    let place = place.map_or_else(String::new, |path| path.display().to_string());
    let advice = advice.map_or_else(String::new, |(_, said)| format!("\n{said}"));
    let coded = coded(&ctx, &x, &fit.model)?;
    ui.show(&format!("{place}\n{}{coded}{advice}", summary(&fit)))
}

/// What the codes of a model keep of the neighbours of rows that it held out.
fn coded(ctx: &Context, x: &FileVectors, model: &Model) -> Result<String> {
    let params = EvaluationParams::default().metric(model.params().metric).baselines(false);
    let params = params.codes(true).seed(model.params().seed);
    let held_out = model.training().held_out.as_ref();
    if model.params().codes.is_none() || held_out.is_none_or(|rows| rows.count < 2) {
        return Ok(String::new());
    }
    let given = [("model", Reduction::Model(model))];
    let found = evaluate(&ctx.quiet(), &EvaluationData::new(x), &given, &params)?;
    let code = found.given().next();
    Ok(code.map_or_else(String::new, |code| {
        let Estimate { value, low, high } = code.recall;
        format!(
            "\n  as {:<9}{value:.3} (95 %: {low:.3} to {high:.3}) in {} bytes a row, where floats take {} and \
             keep {:.3}",
            code.format,
            code.bytes_per_vector,
            4 * code.n_components,
            found.methods.iter().rfind(|m| m.format == "f32").map_or(value, |m| m.recall.value)
        )
    }))
}

/// Rows that advice is fitted on, at most.
const ADVISED_BY: usize = 20_000;

/// What to fit with for so many bytes, and what the summary says of it.
fn advice(
    ctx: &Context,
    (x, bytes): (&FileVectors, usize),
    args: &FitArgs,
    params: &Params,
) -> Result<(Params, String)> {
    let asked = EvaluationParams::default()
        .metric(params.metric)
        .seed(params.seed)
        .candidates(args.rescore)
        .fit_rows(ADVISED_BY);
    let advice = advise(ctx, x, Goal::Bytes(bytes), &asked)?;
    let (Some(advised), Some(choice)) = (advice.params()?, advice.fitted()) else {
        return Err(Error::Invalid {
            name: "bytes".to_owned(),
            expected: "some in which a fit keeps neighbours".to_owned(),
            actual: format!("{bytes}: {}", advice.sentence),
        });
    };
    let builder = args.hyperparameters.set(Params::builder())?;
    let builder = builder.n_components(advised.n_components).solver(advised.solver);
    let builder = match advised.codes {
        Some(codes) => builder.codes(codes),
        None => builder,
    };
    let model = args.output.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let x = quoted(&args.x.to_string_lossy());
    let steps = steps(&x, &quoted(&model), choice, (FOUND, args.rescore)).join("\n");
    Ok((builder.build()?, format!("{}\n{steps}", advice.sentence)))
}

/// Refuses what would do nothing.
fn check_effects(args: &FitArgs, params: &Params) -> Result<()> {
    let refuse = |name: &str, given: Option<String>, expected: String| match given {
        Some(actual) => Err(Error::Invalid { name: name.to_owned(), expected, actual }),
        None => Ok(()),
    };
    if params.init == Init::Model && args.from.is_none() {
        let expected = "--from MODEL beside init model".to_owned();
        return refuse("init", Some("none".to_owned()), expected);
    }
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    if params.gaussian {
        refuse(
            "save_knn",
            path(&args.save_knn),
            "no graph to save with gaussian pairs".to_owned(),
        )?;
    }
    if params.solver == Solver::Pca && args.knn.is_none() {
        let expected = "no graph to save with solver pca, which looks for no neighbours";
        refuse("save_knn", path(&args.save_knn), expected.to_owned())?;
    }
    if params.solver != Solver::Sgd {
        let expected = || format!("none with solver {}, which does not train", params.solver);
        refuse("log", path(&args.log), expected())?;
        refuse("tensorboard", path(&args.tensorboard), expected())?;
        let every = Some(args.snapshot_every).filter(|&every| every != 1);
        refuse("snapshot_every", every.map(|every| every.to_string()), expected())?;
    }
    if args.knn.is_some() {
        for name in ["knn_method", "knn_approximation"] {
            let given = args.hyperparameters.get(name).map(ToString::to_string);
            refuse(name, given, "none beside --knn, a graph that is there".to_owned())?;
        }
    }
    Ok(())
}

/// What is asked for; what is not said comes from the recipe, or from the model to go on from.
fn params(args: &FitArgs, model: Option<&Model>) -> Result<Params> {
    let builder = model.map_or_else(Params::builder, Model::fine_tune);
    args.hyperparameters.set(builder)?.build()
}

/// The course of training: (step, loss) and (step, held-out recall).
#[derive(Default)]
struct Run {
    losses: Mutex<Vec<(usize, f64)>>,
    recalls: Mutex<Vec<(usize, f64)>>,
}

/// The page about a fit: judged by rows by which nothing was chosen.
fn page(
    ctx: &Context,
    args: &FitArgs,
    (x, described): (&FileVectors, &Described),
    fit: &Fit,
    run: &Run,
) -> Result<Report> {
    let model = &fit.model;
    let (metric, seed) = (model.params().metric, model.params().seed);
    let name = args.output.as_deref().map_or("TLDR".to_owned(), name);
    let params = EvaluationParams::default().metric(metric).seed(seed).curves(true);
    let data = EvaluationData::new(x);
    let evaluation = evaluate(ctx, &data, &[(&name, Reduction::Model(model))], &params)?;
    let z = model.view(x, metric == Metric::Cosine)?;
    let facts = measured(&args.x, metric, evaluation.n_neighbors, seed);
    let report = Report::new(format!("{name}: {} → {}", model.n_features(), model.n_components()))
        .training(&lock(&run.losses), &lock(&run.recalls));
    Ok(described
        .map(ctx, report, &z, seed)?
        .evaluation(evaluation)
        .model(model)
        .facts("Measurement", &facts))
}

fn read_graph(ctx: &Context, path: &std::path::Path, n_rows: usize) -> Result<KnnGraph> {
    let file_error =
        |expected: String, actual: String| Error::File { path: path.to_owned(), expected, actual };
    let (shape, indices) = reading(ctx, path, read_integers)??;
    match shape[..] {
        [n, _] if n == n_rows => KnnGraph::from_indices(n, &indices),
        [n, _] => Err(file_error(format!("{n_rows} rows, one for each of X"), n.to_string())),
        _ => Err(file_error("a 2-D array of neighbours".to_owned(), format!("shape {shape:?}"))),
    }
}

fn summary(fit: &Fit) -> String {
    let report = &fit.report;
    let FitReport { n_rows, n_features, n_components, training, .. } = report;
    let trained = match training.n_anchors + fit.held_out.len() < *n_rows && fit.graph.is_none() {
        true => format!("the neighbours of {} trained on", training.n_anchors),
        false => format!("{} trained on", training.n_anchors),
    };
    let mut text = format!(
        "  rows        {n_rows} ({trained})\n  dimensions  {n_features} → {n_components}\n"
    );
    for stage in &report.stages {
        let _ = writeln!(text, "  {:<11} {}", stage.stage.name(), seconds(stage.elapsed));
    }
    let params = fit.model.params();
    if training.steps > 0 {
        let _ = writeln!(
            text,
            "  final loss  {:.4} (mean of the last epoch; {} steps of {} rows)",
            training.final_loss, training.steps, training.batch_size
        );
    } else if params.solver == Solver::Sgd {
        let why = match fit.held_out.is_empty() {
            true => "there are too few rows to hold some out",
            false => "it keeps all held-out neighbours",
        };
        let _ = writeln!(text, "  training    none: the start is kept as it is, {why}");
    }
    if let (Loss::KL, Some(tau)) = (params.loss, params.tau) {
        let _ = writeln!(text, "  loss        KL, tau {tau:.4}, start {}", params.init);
    }
    if let Some(step) = training.best_step.filter(|&step| step < training.steps) {
        let what = match step {
            0 => "training added nothing: the start is kept".to_owned(),
            _ => format!("step {step}: its weights are kept"),
        };
        let _ = writeln!(text, "  best        {what}");
    }
    match &report.validation {
        Some(v) => {
            let _ = write!(
                text,
                "  recall@{:<4} {:.3} of the nearest neighbours of {} held-out rows kept",
                v.k, v.recall, v.n_rows
            );
            if training.held_out.as_ref().is_some_and(|held_out| held_out.seen) {
                text.push_str(
                    "\n  verdict     none: the model gone on from may have seen these rows",
                );
            } else {
                let pca = v.pca_recall.map_or("none".to_owned(), |r| format!("{r:.3}"));
                let _ = write!(text, " (PCA {pca})");
            }
            if let (Some(gain), Some(form)) = (&v.gain, &v.closed_form) {
                let queries = training.queries.as_ref().and_then(|q| q.validation.as_ref());
                let verdict = match queries {
                    // A fit for queries is judged by them, below.
                    Some(_) => format!("rows: {}", gain.beside(&best_of(form))),
                    None => verdict(params, gain, form, v),
                };
                let _ = write!(text, "\n  verdict     {verdict}");
            }
        }
        None => text.push_str("  recall      not measured: no rows held out"),
    }
    for nested in report.validation.iter().flat_map(|v| &v.nested) {
        let NestedReport { n_components, recall, .. } = nested;
        let _ = write!(text, "\n  first {n_components:<5} {recall:.3}");
        if let (Some(pca), Some(form), Some(gain)) =
            (nested.pca_recall, &nested.closed_form, &nested.gain)
        {
            let _ = write!(text, ": {}", gain.beside(&format!("{form} ({pca:.3})")));
        }
    }
    if let Some(queries) = &training.queries {
        text.push_str(&of_queries(queries));
    }
    text
}

/// What a fit for queries was worth.
fn of_queries(record: &QueryRecord) -> String {
    let mut text = format!("\n  queries     {} trained on", record.n_trained);
    let Some(v) = &record.validation else {
        text.push_str("; recall not measured: none held out");
        return text;
    };
    if record.held_out.seen {
        text.push_str(
            "\n              no verdict: the model gone on from may have seen the held-out ones",
        );
    }
    for sentence in v.sentences() {
        let _ = write!(text, "\n              {sentence}");
    }
    text
}

fn best_of(form: &str) -> String {
    format!("{form}, the best reduction without training")
}

/// What training was worth, beside the best of what needs none.
fn verdict(params: &Params, gain: &Estimate, form: &str, report: &ValidationReport) -> String {
    let beside = gain.beside(&best_of(form));
    let gains = |nested: &&NestedReport| nested.gain.is_some_and(|gain| gain.low > 0.0);
    let sizes: Vec<String> =
        report.nested.iter().filter(gains).map(|nested| nested.n_components.to_string()).collect();
    match params.solver {
        Solver::Pca if (gain.low, gain.high) == (0.0, 0.0) => {
            format!("{form} is the best form of PCA, by other held-out rows")
        }
        // Whitening gives up recall for ranking.
        Solver::Sgd if params.whiten > 0.0 => beside,
        Solver::Sgd if gain.low <= 0.0 && sizes.is_empty() => {
            let without = match report.is_of_solver_pca() {
                true => "; --solver pca does without it",
                false => "",
            };
            format!("training did not help here: {beside}{without}")
        }
        Solver::Sgd if gain.low <= 0.0 => {
            let d = params.n_components;
            let sizes = sizes.join(", ");
            format!("training helped the first {sizes}, not all {d}: {beside}")
        }
        _ => beside,
    }
}
