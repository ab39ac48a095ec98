//! What was found, as text.

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter, Result};

use super::advise::{Advice, Verdict};
use super::evaluate::{Evaluation, MethodEvaluation};
use super::nested::NestedMethod;
use crate::estimate::Estimate;

/// A column: heading, value of a method, digits.
type Column = (&'static str, fn(&MethodEvaluation) -> Option<Estimate>, usize);

const COLUMNS: [Column; 7] = [
    ("accuracy", |m| m.accuracy, 3),
    ("nDCG@10", |m| m.ndcg_at_10, 3),
    ("mAP", |m| m.average_precision, 3),
    ("R@100", |m| m.recall_at_100, 3),
    ("trust", |m| Some(m.trustworthiness), 3),
    ("contin", |m| Some(m.continuity), 3),
    ("rank", |m| m.effective_rank, 1),
];

/// The first columns of a method's row.
fn row(name: &str, n_components: usize, Estimate { value, low, high }: Estimate) -> String {
    let interval = format!("{value:.3} [{low:.3}, {high:.3}]");
    format!("{name:<24} {n_components:>5} {interval:>22}")
}

/// The table, recall with its interval, then what was sampled and the sentence.
impl Display for Evaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let has = |of: fn(&MethodEvaluation) -> Option<Estimate>| {
            self.methods.iter().any(|m| of(m).is_some())
        };
        let shown: Vec<&Column> = COLUMNS.iter().filter(|(_, of, _)| has(*of)).collect();
        let recall = format!("recall@{} [95 %]", self.n_neighbors);
        write!(f, "{:<24} {:>5} {recall:>22}", "method", "dim")?;
        for (heading, _, _) in &shown {
            write!(f, " {heading:>8}")?;
        }
        writeln!(f)?;
        for m in &self.methods {
            write!(f, "{}", row(&m.name, m.n_components, m.recall))?;
            for (_, of, digits) in &shown {
                let value = of(m).map_or("-".to_owned(), |e| format!("{:.digits$}", e.value));
                write!(f, " {value:>8}")?;
            }
            writeln!(f)?;
        }
        for nested in &self.nested {
            writeln!(f, "\nthe first {} dimensions", nested.n_components)?;
            for NestedMethod { name, recall, recall_behind_first } in &nested.methods {
                write!(f, "{}", row(name, nested.n_components, *recall))?;
                if let Some(Estimate { value, low, high }) = recall_behind_first {
                    let [value, low, high] = [value, low, high].map(|v| -100.0 * v);
                    write!(f, "  {value:+.1} points (95 %: {high:+.1} to {low:+.1})")?;
                }
                writeln!(f)?;
            }
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
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let all: BTreeSet<usize> = points.map(|point| point.n_components).collect();
        write!(f, "{:<18}", format!("recall@{}, d =", self.n_neighbors))?;
        for d in &all {
            write!(f, " {d:>6}")?;
        }
        writeln!(f)?;
        for curve in &self.curves {
            write!(f, "{:<18}", curve.name)?;
            for d in &all {
                let point = curve.points.iter().find(|point| point.n_components == *d);
                let value = point.map_or(String::new(), |p| format!("{:.3}", p.recall.value));
                write!(f, " {value:>6}")?;
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
            "\nA vector takes {after} bytes for {before} as f32: {saved:.1} MB less for {} rows.",
            self.n_rows
        )
    }
}
