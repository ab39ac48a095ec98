//! What is advised, and the words for it.

use twinlearn_codes::CodeSpec;

use super::super::curves::{PCA, TLDR};
use super::super::formats::Side;
use super::super::params::EvaluationParams;
use super::super::results::{Curve, CurvePoint};
use super::cells::{Asked, Cell, Method};
use super::results::{Advice, Choice, Goal, Verdict};
use crate::estimate::Estimate;

/// Something simpler is enough where it needs at most so many times the bytes.
const ENOUGH: f64 = 1.1;
/// Or where it keeps at most so much less in as many bytes.
const AS_GOOD: f64 = 0.01;

/// What was asked, of what.
pub(super) struct Asking<'a> {
    pub(super) goal: Goal,
    pub(super) params: &'a EvaluationParams,
    pub(super) n_rows: usize,
    pub(super) dim: usize,
    /// The dimensions at which floats of TLDR and of PCA keep the share.
    pub(super) floats: [Option<usize>; 2],
}

/// The cell to take: that keeps enough in the fewest bytes, or most in as many.
fn best<'a>(goal: Goal, cells: impl Iterator<Item = &'a Cell>) -> Option<&'a Cell> {
    match goal {
        Goal::Keep(keep) => {
            let enough = cells.filter(|cell| cell.chosen_by() >= keep);
            enough.min_by_key(|cell| (cell.row_bytes, cell.n_components))
        }
        Goal::Bytes(bytes) => {
            let fitting = cells.filter(|cell| cell.row_bytes <= bytes);
            fitting.max_by(|a, b| {
                let order = a.chosen_by().total_cmp(&b.chosen_by());
                order.then(b.n_components.cmp(&a.n_components))
            })
        }
    }
}

/// Whether `simple` may stand for `cell`.
fn is_enough(goal: Goal, simple: &Cell, cell: Option<&Cell>) -> bool {
    let Some(cell) = cell else { return true };
    match goal {
        Goal::Keep(_) => simple.row_bytes as f64 <= ENOUGH * cell.row_bytes as f64,
        Goal::Bytes(_) => simple.chosen_by() >= cell.chosen_by() - AS_GOOD,
    }
}

pub(super) fn advice(
    asking: &Asking<'_>,
    cells: &[Cell],
    mut curves: Vec<Curve>,
    notes: Vec<String>,
) -> Advice {
    let &Asking { goal, params, n_rows, dim, floats } = asking;
    let of = |method: Method, asked: Option<Asked>| {
        let is_one =
            |cell: &&Cell| cell.method == method && asked.is_none_or(|asked| cell.asked == asked);
        best(goal, cells.iter().filter(is_one))
    };
    let [ours, pca] = [Method::Tldr, Method::Pca].map(|method| of(method, None));
    let int8 = of(Method::Full, Some(Asked::Int8));
    let signs = [Side::Bits, Side::Floats].map(|side| of(Method::Full, Some(Asked::Signs(side))));
    let signs = best(goal, signs.into_iter().flatten());
    // The simplest first.
    let learned = best(goal, ours.into_iter().chain(pca));
    let fits = matches!(goal, Goal::Bytes(bytes) if 4 * dim <= bytes);
    let simple = [(signs, Verdict::SignsAreEnough), (int8, Verdict::Int8IsEnough)];
    let simple = simple.into_iter().filter_map(|(cell, verdict)| Some((cell?, verdict)));
    let simple = simple.filter(|(cell, _)| is_enough(goal, cell, learned));
    let simple = simple.min_by_key(|(cell, _)| match goal {
        Goal::Keep(_) => cell.row_bytes as i64,
        // int8 before signs, where there is room for it.
        Goal::Bytes(_) => -(cell.row_bytes as i64),
    });
    let (choice, verdict) = match (fits, simple, ours, pca) {
        (true, ..) => (None, Verdict::KeepAll),
        (_, Some((cell, verdict)), ..) => (Some(cell), verdict),
        (.., ours, Some(pca)) if is_enough(goal, pca, ours) => (Some(pca), Verdict::PcaIsEnough),
        (.., Some(ours), _) => (Some(ours), Verdict::Tldr),
        (.., None, _) => (None, Verdict::KeepAll),
    };
    let seed = params.seed;
    let told = |cell: &Cell| {
        let is_this = choice.is_some_and(|choice| std::ptr::eq(choice, cell));
        let ahead = choice.filter(|_| !is_this);
        Choice {
            method: cell.method.name().to_owned(),
            n_components: cell.n_components,
            format: cell.format.clone(),
            bytes_per_vector: cell.row_bytes,
            recall: Estimate::of_mean(&cell.told(), seed),
            behind: ahead.map(|ahead| Estimate::of_difference(&ahead.told(), &cell.told(), seed)),
        }
    };
    // The full vectors are listed also where they take more bytes, or keep too little.
    let any = |asked| cells.iter().find(|cell| cell.method == Method::Full && cell.asked == asked);
    let [bits, floats_of_bits] = [Side::Bits, Side::Floats].map(|side| any(Asked::Signs(side)));
    let listed = [ours, pca, any(Asked::Int8), bits, floats_of_bits];
    let choices: Vec<Choice> = listed.into_iter().flatten().map(&told).collect();
    let choice = choice.map(&told);
    let interval = |d: Option<usize>, name: &str| {
        let Goal::Keep(keep) = goal else { return None };
        let curve = curves.iter().find(|curve| curve.name == name)?;
        d.map(|d| {
            [
                curve.reaches(keep, dim, |r| r.high).min(d),
                curve.reaches(keep, dim, |r| r.low).max(d),
            ]
        })
    };
    let intervals = [interval(floats[0], TLDR), interval(floats[1], PCA)];
    let sentence = sentence(asking, verdict, choice.as_ref(), &choices);
    // Where a share was asked for, floats have curves already.
    curves.extend(by_format(cells, matches!(goal, Goal::Bytes(_)), seed));
    let (keep, bytes) = match goal {
        Goal::Keep(keep) => (Some(keep), None),
        Goal::Bytes(bytes) => (None, Some(bytes)),
    };
    let taken = choice.as_ref().map_or(4 * dim, |choice| choice.bytes_per_vector);
    Advice {
        keep,
        bytes,
        candidates: params.candidates,
        n_neighbors: params.n_neighbors,
        metric: params.metric,
        seed,
        n_rows,
        n_features: dim,
        n_components: floats[0],
        pca_n_components: floats[1],
        n_components_interval: intervals[0],
        pca_n_components_interval: intervals[1],
        choice,
        choices,
        bytes_per_vector: 4 * dim,
        reduced_bytes_per_vector: taken,
        verdict,
        sentence,
        curves,
        notes,
    }
}

/// What was measured, by method and format.
fn by_format(cells: &[Cell], with_floats: bool, seed: u64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for cell in cells.iter().filter(|cell| with_floats || cell.asked != Asked::Floats) {
        let format = match cell.asked {
            Asked::Code(CodeSpec::Product(_)) => "pq",
            _ => &cell.format,
        };
        let point = CurvePoint {
            n_components: cell.n_components,
            bytes_per_vector: cell.row_bytes,
            recall: Estimate::of_mean(&cell.scores, seed),
        };
        let is_same =
            |curve: &&mut Curve| curve.name == cell.method.name() && curve.format == format;
        match curves.iter_mut().find(is_same) {
            Some(curve) => curve.points.push(point),
            None => {
                let name = cell.method.name().to_owned();
                curves.push(Curve { name, format: format.to_owned(), points: vec![point] });
            }
        }
    }
    for curve in &mut curves {
        curve.points.sort_by_key(|point| (point.bytes_per_vector, point.n_components));
    }
    curves
}

/// A choice, in words.
fn words(choice: &Choice, dim: usize) -> String {
    let Choice { n_components: d, format, .. } = choice;
    match d == &dim {
        true => format.clone(),
        false => format!("{d} dimensions, {format}"),
    }
}

fn sentence(
    asking: &Asking<'_>,
    verdict: Verdict,
    choice: Option<&Choice>,
    choices: &[Choice],
) -> String {
    let &Asking { goal, params, dim, .. } = asking;
    let after = params
        .candidates
        .map_or(String::new(), |count| format!(" after {count} candidates are put in order"));
    let of = |method: Method| choices.iter().find(|choice| choice.method == method.name());
    let [ours, pca] = [Method::Tldr, Method::Pca].map(of);
    match (goal, verdict, choice) {
        (Goal::Bytes(bytes), _, None) => {
            format!("The vectors fit into {bytes} bytes as they are: they take {}.", 4 * dim)
        }
        (Goal::Keep(keep), _, None) => format!(
            "Nothing smaller than the vectors as they are keeps {:.0} % of the neighbours{after}: take a \
             smaller share, or keep them.",
            100.0 * keep
        ),
        (Goal::Keep(keep), _, Some(choice)) => {
            let percent = 100.0 * keep;
            let Estimate { value, low, high } = choice.recall;
            let [value, low, high] = [value, low, high].map(|v| 100.0 * v);
            let after = format!("{after} (judged: {value:.1} %; 95 %: {low:.1} to {high:.1})");
            let needs = |other: Option<&Choice>| {
                other.map_or("keeps less below all dimensions".to_owned(), |other| {
                    format!("needs {} ({})", other.bytes_per_vector, words(other, dim))
                })
            };
            let Choice { bytes_per_vector: bytes, .. } = choice;
            let how = words(choice, dim);
            match verdict {
                Verdict::Tldr => format!(
                    "TLDR keeps {percent:.0} % of the neighbours{after} in {bytes} bytes a row ({how}); \
                     PCA {}.",
                    needs(pca)
                ),
                Verdict::PcaIsEnough => format!(
                    "PCA is enough here (within a tenth of the bytes of TLDR): it keeps {percent:.0} % of the \
                     neighbours{after} in {bytes} bytes a row ({how}); TLDR {}.",
                    needs(ours)
                ),
                _ => format!(
                    "The full vectors as {} are enough here: they keep {percent:.0} % of the \
                     neighbours{after} in {bytes} bytes a row; TLDR {}.",
                    database(verdict),
                    needs(ours)
                ),
            }
        }
        (Goal::Bytes(_), _, Some(choice)) => {
            let Estimate { value, low, high } = choice.recall;
            let [value, low, high] = [value, low, high].map(|v| 100.0 * v);
            let kept = format!(
                "{value:.1} % (95 %: {low:.1} to {high:.1}) of the {} nearest neighbours{after} in {} bytes \
                 a row ({})",
                params.n_neighbors,
                choice.bytes_per_vector,
                words(choice, dim)
            );
            let beside = |other: Option<&Choice>| {
                let of = other.and_then(|other| Some((other, other.behind?)));
                of.map_or(String::new(), |(other, behind)| {
                    let name = format!("{} ({})", other.method, words(other, dim));
                    format!(", {}", behind.beside(&name))
                })
            };
            match verdict {
                Verdict::Tldr => format!("TLDR keeps {kept}{}.", beside(pca)),
                Verdict::PcaIsEnough => {
                    format!(
                        "PCA is enough here (within a point of TLDR): it keeps {kept}{}.",
                        beside(ours)
                    )
                }
                _ => format!(
                    "The full vectors as {} are enough here: they keep {kept}{}.",
                    database(verdict),
                    beside(ours)
                ),
            }
        }
    }
}

/// What a database calls it.
fn database(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::SignsAreEnough => "signs (the binary quantisation of databases)",
        _ => "int8 (the scalar quantisation of databases)",
    }
}
