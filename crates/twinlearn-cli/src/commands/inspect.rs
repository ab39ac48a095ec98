//! `twinlearn inspect`

use std::fmt::Write;

use serde_json::{Value, json};
use twinlearn::{Model, Result};

use crate::args::InspectArgs;
use crate::terminal::print;

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let model = Model::load(&args.model)?;
    let value = json!({
        "n_features": model.n_features(),
        "n_components": model.n_components(),
        "has_projector": model.has_projector(),
        "inference_parameters": model.n_inference_parameters(),
        "hyperparameters": model.params(),
        "training": model.training(),
        "arrays": model.arrays().into_iter().map(|(name, shape, _)| {
            json!({ "name": name, "shape": shape })
        }).collect::<Vec<_>>(),
    });
    if args.json {
        return print(&format!("{value:#}"));
    }
    let mut text = format!(
        "{}: {} → {} dimensions, {} numbers to apply\n",
        args.model.display(),
        model.n_features(),
        model.n_components(),
        model.n_inference_parameters(),
    );
    for section in ["hyperparameters", "training"] {
        let _ = writeln!(text, "\n{section}");
        for (name, value) in value[section].as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {name:<20} {}", plain(value));
        }
    }
    let _ = writeln!(text, "\narrays");
    for (name, shape, _) in model.arrays() {
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {name:<30} {}", shape.join(" × "));
    }
    print(text.trim_end())
}

/// A JSON value without the quotes of strings; an object on one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "none".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            fields.join(", ")
        }
        other => other.to_string(),
    }
}
