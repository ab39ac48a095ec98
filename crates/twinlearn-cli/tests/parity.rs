//! The library and the program are one: what one fits, the other fits to the last bit. The Python
//! package is held to the same settings by `python/tests/test_parity.py`.

mod support;

use serde_json::{Map, Value as Json};
use support::{Folder, data};
use twinlearn::{Context, FileVectors, Params, Trainer, Value};

/// The settings of fixtures/parity.json, by the names of the library's parameters.
fn settings() -> Vec<Map<String, Json>> {
    serde_json::from_str(include_str!("fixtures/parity.json")).unwrap()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Bool(truth) => Value::Truth(*truth),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(sizes) => {
            Value::Sizes(sizes.iter().map(|size| size.as_u64().unwrap() as usize).collect())
        }
        number if number.is_u64() => Value::Whole(number.as_u64().unwrap()),
        number => Value::Real(number.as_f64().unwrap()),
    }
}

fn flags(settings: &Map<String, Json>) -> Vec<String> {
    let mut flags = Vec::new();
    for (name, value) in settings {
        flags.push(format!("--{}", name.replace('_', "-")));
        match value {
            Json::Bool(true) => {}
            Json::String(text) => flags.push(text.clone()),
            Json::Array(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                flags.push(sizes.join(","));
            }
            number => flags.push(number.to_string()),
        }
    }
    flags
}

#[test]
fn the_librarys_fit_is_the_programs_byte_for_byte() {
    let folder = Folder::new();
    let x = data("test_x.npy");
    let rows = FileVectors::open(&x).unwrap();
    let ctx = Context::new().unwrap();
    for settings in settings() {
        let mut builder = Params::builder();
        for (name, json) in &settings {
            builder = builder.set(name, &value(json)).unwrap();
        }
        let fit = Trainer::new(builder.build().unwrap()).fit(&ctx, &rows).unwrap();
        let flags = flags(&settings);
        let mut args = vec!["fit", x.to_str().unwrap(), "-o", "m.safetensors"];
        args.extend(flags.iter().map(String::as_str));
        folder.ok(&args);
        let bytes = folder.read("m.safetensors");
        assert!(bytes == fit.model.to_bytes().unwrap(), "{settings:?}");
    }
}
