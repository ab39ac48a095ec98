//! Model files: of earlier schema versions, of later ones, and damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinlearn::{
    Bits, Context, FileVectors, Matrix, Model, OutputDtype, Params, Subset, Trainer,
    TransformOptions, VectorSource,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

#[test]
fn models_of_every_earlier_version_give_what_they_gave() {
    let ctx = Context::with_threads(1).unwrap();
    let x = FileVectors::open(data("test_x.npy")).unwrap();
    let rows = Subset::new(&x, &[0, 1, 2, 3, 4]).unwrap();
    for version in [1, 2, 4] {
        let recorded = std::fs::read_to_string(fixture(&format!("model_v{version}.json"))).unwrap();
        let recorded: serde_json::Value = serde_json::from_str(&recorded).unwrap();
        for (name, want) in recorded.as_object().unwrap() {
            let model = Model::load(fixture(&format!("model_v{version}_{name}.safetensors")));
            let model = model.unwrap();
            assert_eq!(model.has_projector(), name == "flinear");
            assert_eq!(model.quantiser(false).is_some(), version > 1);
            let z = model.transform(&ctx, &rows, false).unwrap();
            let want: Vec<Vec<f64>> = serde_json::from_value(want.clone()).unwrap();
            for (i, want) in want.iter().enumerate() {
                for (got, want) in z.row(i).iter().zip(want) {
                    assert!((f64::from(*got) - want).abs() < 1e-5, "{name} v{version} row {i}");
                }
            }
        }
    }
}

/// A table of codes that was written once must mean the same to every later version.
#[test]
fn codes_of_a_recorded_model_stay_what_they_were() {
    let ctx = Context::with_threads(1).unwrap();
    let x = FileVectors::open(data("test_x.npy")).unwrap();
    let rows = Subset::new(&x, &[0, 1, 2, 3, 4]).unwrap();
    let model = Model::load(fixture("model_v4_codes.safetensors")).unwrap();
    let recorded = std::fs::read_to_string(fixture("model_v4_codes.json")).unwrap();
    let recorded: BTreeMap<String, Vec<String>> = serde_json::from_str(&recorded).unwrap();
    assert_eq!(recorded.len(), 5);
    for bits in Bits::ALL.into_iter().map(Some).chain([None]) {
        let codec = model.codec(bits).unwrap();
        let codes = model.encode(&ctx, &codec, &rows).unwrap();
        let hex = |row: &[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let got: Vec<String> = codes.chunks(codec.row_bytes()).map(hex).collect();
        let name = codec.spec().to_string();
        assert_eq!(Some(&got), recorded.get(&name), "{name}");
    }
}

#[test]
fn a_newer_version_is_refused_with_what_to_do() {
    let bytes = std::fs::read(fixture("model_v1_linear.safetensors")).unwrap();
    let newer = replaced(&bytes, b"\\\"schema_version\\\":1", b"\\\"schema_version\\\":9");
    let message = Model::from_bytes(&newer).unwrap_err().to_string();
    assert_eq!(
        message,
        "model: expected a model of schema version up to 4, got version 9: a newer twinlearn wrote \
         it; install that"
    );
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    for name in ["linear", "flinear"] {
        let whole = std::fs::read(fixture(&format!("model_v2_{name}.safetensors"))).unwrap();
        Model::from_bytes(&whole).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(Model::from_bytes(&bytes).is_err(), "{name}: byte {at}");
        }
        for len in 0..whole.len() {
            assert!(Model::from_bytes(&whole[..len]).is_err(), "{name}: {len} bytes");
        }
    }
}

#[test]
fn codes_are_kept_and_every_damage_to_them_is_noticed() {
    let ctx = Context::with_threads(2).unwrap();
    let value = |i: usize| ((i * i * 31 % 9973) as f32 * 0.37).sin();
    let x = Matrix::new(300, 10, (0..300 * 10).map(value).collect()).unwrap();
    let params = Params::builder().n_components(6).nested(vec![4]).codes("pq:2".parse().unwrap());
    let model = Trainer::new(params.build().unwrap()).fit(&ctx, &x).unwrap().model;
    let z = model.transform(&ctx, &x, false).unwrap();
    let bytes = model.to_bytes().unwrap();
    let again = Model::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes);
    for bits in [None, Some(1), Some(2), Some(8)] {
        let bits = bits.map(|bits| Bits::new(bits).unwrap());
        let (codec, kept) = (model.codec(bits).unwrap(), again.codec(bits).unwrap());
        assert_eq!(codec, kept);
        assert_eq!(codec.encode(&ctx, &z).unwrap(), kept.encode(&ctx, &z).unwrap());
    }
    // Codes of a prefix are of the prefix, scaled as such; books are of the whole.
    let short = again.prefix(4).unwrap();
    let four = Bits::new(4).unwrap();
    assert_eq!(short.codec(Some(four)).unwrap().dim(), 4);
    let message = short.codec(None).unwrap_err().to_string();
    assert!(message.starts_with("model: expected one fitted with a product code"), "{message}");
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Model::from_bytes(&damaged).is_err(), "byte {at}");
    }
    // Models of earlier versions make no codes, and say so.
    let old = Model::load(fixture("model_v2_linear.safetensors")).unwrap();
    let message = old.codec(Some(four)).unwrap_err().to_string();
    assert!(message.starts_with("model: expected one with what codes need"), "{message}");
}

#[test]
fn a_checksum_cannot_be_left_out() {
    let bytes = std::fs::read(fixture("model_v2_linear.safetensors")).unwrap();
    let without = replaced(&bytes, b"\\\"checksum\\\"", b"\\\"checksun\\\"");
    let message = Model::from_bytes(&without).unwrap_err().to_string();
    assert!(message.ends_with("got one without a checksum"), "{message}");
}

#[test]
fn bytes_need_ranges() {
    let ctx = Context::with_threads(1).unwrap();
    let model = Model::load(fixture("model_v1_linear.safetensors")).unwrap();
    let source = VectorSource::open(data("test_x.npy")).unwrap();
    let options = TransformOptions::default().dtype(Some(OutputDtype::Int8));
    let folder = tempfile::tempdir().unwrap();
    let error = model.transform_file(&ctx, &source, folder.path().join("z.npy"), &options);
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("model: expected a model with ranges for dtype int8"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}
