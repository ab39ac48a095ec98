//! What can be read without scripts: headline, tables, facts.

use std::fmt::Write;

use serde_json::Value;
use twinlearn::{Estimate, Evaluation, MethodEvaluation, MethodKind};

use crate::Report;

/// `text` as HTML that says the same.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A JSON value as people write it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        // Enough digits to tell runs apart.
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            let digits = (5 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 12);
            let text = format!("{value:.0$}", digits as usize);
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}

pub(crate) fn body(report: &Report) -> String {
    let mut out = format!("<h1>{}</h1>\n", escape(&report.title));
    if let Some(sentence) = headline(report) {
        let _ = writeln!(out, "<p class=\"headline\">{}</p>", escape(&sentence));
    }
    for sentence in &report.queries {
        let _ = writeln!(out, "<p>{}</p>", escape(sentence));
    }
    if report.has_curves() {
        out.push_str(&chart(
            "quality",
            if report.advice.is_some() {
                "Quality against bytes"
            } else {
                "Quality against dimension"
            },
            "Share of the nearest neighbours that is kept; bars are 95 % bootstrap intervals.",
        ));
    }
    if let Some(evaluation) = &report.evaluation {
        out.push_str(&methods(evaluation));
    }
    if !report.losses.is_empty() {
        out.push_str(&chart("loss", "Training", "Loss of the steps, and recall of held-out rows."));
    }
    if !report.spectrum.is_empty() {
        let note = "Standard deviations along the principal axes: axes near 0 are wasted.";
        out.push_str(&chart("spectrum", "Spectrum", note));
    }
    if report.map.is_some() {
        out.push_str(MAP);
    }
    if !report.facts.is_empty() {
        out.push_str("<section><h2>Parameters and versions</h2><div class=\"facts\">\n");
        for (heading, facts) in &report.facts {
            let _ = writeln!(out, "<div><h3>{}</h3><dl>", escape(heading));
            for (name, value) in facts {
                let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            out.push_str("</dl></div>\n");
        }
        out.push_str("</div></section>\n");
    }
    let notes = [
        report.evaluation.iter().flat_map(|e| &e.notes).collect::<Vec<_>>(),
        report.advice.iter().flat_map(|a| &a.notes).collect(),
    ];
    if notes.iter().any(|notes| !notes.is_empty()) {
        out.push_str("<section><h2>How it was measured</h2>\n<ul>\n");
        for note in notes.iter().flatten() {
            let _ = writeln!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul></section>\n");
    }
    let _ = writeln!(out, "<p class=\"soft\">twinlearn {}</p>", env!("CARGO_PKG_VERSION"));
    out
}

/// The verdict, or how the first reduction does beside the best baseline.
fn headline(report: &Report) -> Option<String> {
    if let Some(advice) = &report.advice {
        return Some(advice.sentence.clone());
    }
    report.evaluation.as_ref()?.sentence()
}

fn chart(id: &str, heading: &str, note: &str) -> String {
    format!(
        "<section><h2 id=\"{id}\">{heading}</h2><p class=\"soft\">{note}</p>\n\
         <div class=\"chart\" id=\"{id}-chart\" role=\"img\" aria-labelledby=\"{id}\"></div></section>\n"
    )
}

const MAP: &str = "<section><h2 id=\"map\">Map</h2>\n\
<p class=\"soft\">The two main axes of the reduced vectors; of the others nothing is seen here. Drag, \
scroll or pinch; with the keyboard: arrows, + and −, 0 for all, n and p for the next row and the one \
before.</p>\n\
<div class=\"controls\"><button type=\"button\" data-map=\"in\">Zoom in</button>\
<button type=\"button\" data-map=\"out\">Zoom out</button>\
<button type=\"button\" data-map=\"all\">All</button>\
<button type=\"button\" data-map=\"next\">Next row</button>\
<input id=\"map-search\" type=\"search\" placeholder=\"Find rows; Enter goes to the next\" \
aria-label=\"Find rows by their text or label\"></div>\n\
<div id=\"map-chart\" tabindex=\"0\" role=\"application\" aria-labelledby=\"map\"></div>\n\
<p id=\"map-told\" aria-live=\"polite\"></p></section>\n";

/// A column of the table: heading, value of a method, and whether it is a share.
type Column = (&'static str, fn(&MethodEvaluation) -> Option<Estimate>, bool);

const COLUMNS: [Column; 10] = [
    ("recall", |m| Some(m.recall), true),
    ("rescored", |m| m.rescored, true),
    ("less than the first", |m| m.recall_behind_first, true),
    ("accuracy", |m| m.accuracy, true),
    ("nDCG@10", |m| m.ndcg_at_10, true),
    ("mAP", |m| m.average_precision, true),
    ("recall@100 of answers", |m| m.recall_at_100, true),
    ("trustworthiness", |m| Some(m.trustworthiness), true),
    ("continuity", |m| Some(m.continuity), true),
    ("effective rank", |m| m.effective_rank, false),
];

fn methods(evaluation: &Evaluation) -> String {
    let mut out = String::from(
        "<section><h2 id=\"methods\">What is kept</h2>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-labelledby=\"methods\"><table>\n<thead><tr><th>method</th>\
         <th>dimensions</th><th>format</th><th>bytes</th>",
    );
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, of, _)| evaluation.methods.iter().any(|m| of(m).is_some()))
        .collect();
    for (heading, _, _) in &shown {
        let heading = match *heading {
            "recall" => format!("recall@{}", evaluation.n_neighbors),
            other => other.to_owned(),
        };
        let _ = write!(out, "<th>{heading}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for method in &evaluation.methods {
        let class = if method.kind == MethodKind::Baseline { "" } else { " class=\"given\"" };
        let _ = write!(
            out,
            "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(&method.name),
            method.n_components,
            escape(&method.format),
            method.bytes_per_vector
        );
        for (_, of, is_share) in &shown {
            let digits = if *is_share { 3 } else { 1 };
            let _ = match of(method) {
                Some(Estimate { value, low, high }) => write!(
                    out,
                    "<td>{value:.digits$}<small>{low:.digits$} – {high:.digits$}</small></td>"
                ),
                None => write!(out, "<td></td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></section>\n");
    if !evaluation.nested.is_empty() {
        nested_sizes(evaluation, &mut out);
    }
    out
}

/// The table of nested sizes, each beside what has the same size.
fn nested_sizes(evaluation: &Evaluation, out: &mut String) {
    let _ = write!(
        out,
        "<section><h2 id=\"nested\">Nested sizes</h2>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-labelledby=\"nested\"><table>\n<thead><tr><th>method</th>\
         <th>first dimensions</th><th>recall@{}</th><th>less than the first</th></tr></thead>\n<tbody>\n",
        evaluation.n_neighbors
    );
    for nested in &evaluation.nested {
        for (i, method) in nested.methods.iter().enumerate() {
            let class = if i == 0 { " class=\"given\"" } else { "" };
            let cell = |estimate: Option<Estimate>| {
                estimate.map_or(String::new(), |Estimate { value, low, high }| {
                    format!("{value:.3}<small>{low:.3} – {high:.3}</small>")
                })
            };
            let _ = writeln!(
                out,
                "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&method.name),
                nested.n_components,
                cell(Some(method.recall)),
                cell(method.recall_behind_first)
            );
        }
    }
    out.push_str("</tbody></table></div></section>\n");
}
