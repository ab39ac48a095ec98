//! What was found, as text.

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter, Result};

use super::advise::{Advice, Verdict};
use super::results::{Curve, Evaluation, MethodEvaluation, NestedMethod};
use crate::estimate::Estimate;

/// A column: heading, value of a method, digits.
type Column = (&'static str, fn(&MethodEvaluation) -> Option<Estimate>, usize);

const COLUMNS: [Column; 8] = [
    ("rescored", |m| m.rescored, 3),
    ("accuracy", |m| m.accuracy, 3),
    ("nDCG@10", |m| m.ndcg_at_10, 3),
    ("mAP", |m| m.average_precision, 3),
    ("R@100", |m| m.recall_at_100, 3),
    ("trust", |m| Some(m.trustworthiness), 3),
    ("contin", |m| Some(m.continuity), 3),
    ("eff.rank", |m| m.effective_rank, 1),
];

/// What the names of baselines mean.
const FORMS: &str = "PCA γ: each axis is divided by its standard deviation to the power γ. Uncentred: \
                     the mean stays in. With neighbours: axes along which neighbours differ, too. \
                     Spectral: twin learning without training.";

/// The first columns of a method's row; names are `width` wide.
fn row(width: usize, name: &str, dim: &str, recall: Estimate) -> String {
    let Estimate { value, low, high } = recall;
    let interval = format!("{value:.3} [{low:.3}, {high:.3}]");
    format!("{name:<width$} {dim} {interval:>22}")
}

/// The width of a column of names, at least `least`.
fn width<'a>(least: usize, names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).max(least)
}

/// The table, recall with its interval, then what was sampled and the sentence.
impl Display for Evaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let has = |of: fn(&MethodEvaluation) -> Option<Estimate>| {
            self.methods.iter().any(|m| of(m).is_some())
        };
        let shown: Vec<&Column> = COLUMNS.iter().filter(|(_, of, _)| has(*of)).collect();
        let recall = format!("recall@{} [95 %]", self.n_neighbors);
        let nested = self.nested.iter().flat_map(|nested| &nested.methods);
        let names = self.methods.iter().map(|m| &m.name).chain(nested.map(|m| &m.name));
        let width = width(24, names);
        let is_coded = self.methods.iter().any(MethodEvaluation::is_coded);
        // The format has a column where any is not floats.
        let kept = |format: &str, bytes: &str| match is_coded {
            true => format!(" {format:<9} {bytes:>5}"),
            false => String::new(),
        };
        let heading = format!("{:>5}{}", "dim", kept("format", "bytes"));
        write!(f, "{:<width$} {heading} {recall:>22}", "method")?;
        for (heading, _, _) in &shown {
            write!(f, " {heading:>8}")?;
        }
        writeln!(f)?;
        for m in &self.methods {
            let kept = kept(&m.format, &m.bytes_per_vector.to_string());
            let dim = format!("{:>5}{kept}", m.n_components);
            write!(f, "{}", row(width, &m.name, &dim, m.recall))?;
            for (_, of, digits) in &shown {
                let value = of(m).map_or("-".to_owned(), |e| format!("{:.digits$}", e.value));
                write!(f, " {value:>8}")?;
            }
            writeln!(f)?;
        }
        for nested in &self.nested {
            let d = nested.n_components;
            let first = nested.methods.first().map_or("", |m| &m.name);
            writeln!(f, "\nthe first {d} dimensions, and recall beside that of {first}")?;
            for NestedMethod { name, recall, recall_behind_first } in &nested.methods {
                let dim = format!("{:>5}", nested.n_components);
                write!(f, "{}", row(width, name, &dim, *recall))?;
                if let Some(Estimate { value, low, high }) = recall_behind_first {
                    let [value, low, high] = [value, low, high].map(|v| -100.0 * v);
                    write!(f, "  {value:+.1} points (95 %: {high:+.1} to {low:+.1})")?;
                }
                writeln!(f)?;
            }
        }
        if self.methods.iter().any(|m| m.name.contains("γ=")) {
            write!(f, "\n{FORMS}")?;
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        self.sentence().map_or(Ok(()), |sentence| write!(f, "\n{sentence}"))
    }
}

/// The curves, then what was sampled, the verdict and what it saves.
impl Display for Advice {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let recall = match self.candidates {
            Some(count) => format!("recall@{}, {count} candidates re-ranked", self.n_neighbors),
            None => format!("recall@{}", self.n_neighbors),
        };
        let label = |curve: &Curve| format!("{} {}", curve.name, curve.format);
        let labels: Vec<String> = self.curves.iter().map(label).collect();
        let width = width(18, labels.iter());
        if self.keep.is_some() {
            let floats = || self.curves.iter().filter(|curve| curve.format == "f32");
            let points = floats().flat_map(|curve| &curve.points);
            let all: BTreeSet<usize> = points.map(|point| point.n_components).collect();
            write!(f, "{:<width$}", format!("{recall}, d ="))?;
            for d in &all {
                write!(f, " {d:>6}")?;
            }
            writeln!(f)?;
            for curve in floats() {
                write!(f, "{:<width$}", curve.name)?;
                for d in &all {
                    let point = curve.points.iter().find(|point| point.n_components == *d);
                    let value = point.map_or("-".to_owned(), |p| format!("{:.3}", p.recall.value));
                    write!(f, " {value:>6}")?;
                }
                writeln!(f)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{:<width$}  bytes a row: {recall}", "format")?;
        for (curve, label) in self.curves.iter().zip(&labels) {
            if self.keep.is_some() && curve.format == "f32" {
                continue;
            }
            // What takes more than was asked is in the JSON and on the page.
            let most = self.bytes.unwrap_or(usize::MAX);
            let mut points = curve.points.iter().filter(|p| p.bytes_per_vector <= most).peekable();
            if points.peek().is_none() {
                continue;
            }
            write!(f, "{label:<width$}")?;
            for point in points {
                let (bytes, d) = (point.bytes_per_vector, point.n_components);
                write!(f, "  {bytes} (d = {d}): {:.3}", point.recall.value)?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        write!(f, "\n{}", self.sentence)?;
        if self.verdict == Verdict::KeepAll {
            return Ok(());
        }
        let (before, after) = (self.bytes_per_vector, self.reduced_bytes_per_vector);
        let saved = (before - after) as f64 * self.n_rows as f64 / 1e6;
        write!(
            f,
            "\nA vector takes {after} bytes instead of {before} as f32: {saved:.1} MB less for {} rows.",
            self.n_rows
        )
    }
}
