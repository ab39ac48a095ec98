//! The parts put together.

use serde::Serialize;
use twinlearn::{Curve, Estimate};

use crate::Report;
use crate::body::{body, escape};
use crate::map::Map;

const PAGE: &str = include_str!("../assets/report.html");
const CSS: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");
const ECHARTS: &str = include_str!("../assets/echarts.min.js");

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    recall_name: String,
    size_name: &'static str,
    keep: Option<f64>,
    curves: Vec<Line>,
    losses: &'a [(usize, f64)],
    recalls: &'a [(usize, f64)],
    spectrum: &'a [f64],
    map: Option<&'a Map>,
}

/// A curve, or the points of what was given.
#[derive(Serialize)]
struct Line {
    name: String,
    given: bool,
    /// d or bytes, recall, low, high.
    points: Vec<(usize, f64, f64, f64)>,
}

impl Report {
    pub(crate) fn has_curves(&self) -> bool {
        !self.lines().is_empty()
    }

    fn lines(&self) -> Vec<Line> {
        let point = |d, Estimate { value, low, high }| (d, value, low, high);
        let line = |curve: &Curve| Line {
            name: curve.name.clone(),
            given: false,
            points: curve.points.iter().map(|p| point(p.n_components, p.recall)).collect(),
        };
        let evaluation = self.evaluation.as_ref();
        let given =
            evaluation.into_iter().flat_map(twinlearn::Evaluation::given).map(|method| Line {
                name: method.name.clone(),
                given: true,
                points: vec![point(method.n_components, method.recall)],
            });
        let in_bytes = |curve: &Curve| Line {
            name: match &*curve.format {
                "f32" => curve.name.clone(),
                format => format!("{} {format}", curve.name),
            },
            given: false,
            points: curve.points.iter().map(|p| point(p.bytes_per_vector, p.recall)).collect(),
        };
        match &self.advice {
            Some(advice) => advice.curves.iter().map(in_bytes).collect(),
            None => given.chain(evaluation.into_iter().flat_map(|e| &e.curves).map(line)).collect(),
        }
    }
}

pub(crate) fn page(report: &Report) -> String {
    let k = report
        .evaluation
        .as_ref()
        .map(|e| e.n_neighbors)
        .or(report.advice.as_ref().map(|a| a.n_neighbors))
        .unwrap_or(10);
    let data = Data {
        recall_name: format!("recall@{k}"),
        size_name: if report.advice.is_some() { "bytes a row" } else { "dimensions" },
        keep: report.advice.as_ref().and_then(|advice| advice.keep),
        curves: report.lines(),
        losses: &report.losses,
        recalls: &report.recalls,
        spectrum: &report.spectrum,
        map: report.map.as_ref(),
    };
    // Within a script element only `<` could end the data early. Finite numbers and strings always
    // serialise.
    let data = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
    let mut out = String::with_capacity(ECHARTS.len() + data.len() + (1 << 16));
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        out.push_str(before);
        match name {
            "title" => out.push_str(&escape(&report.title)),
            "css" => out.push_str(CSS),
            "body" => out.push_str(&body(report)),
            "data" => out.push_str(&data),
            "echarts" => out.push_str(ECHARTS),
            _ => out.push_str(SCRIPT),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
