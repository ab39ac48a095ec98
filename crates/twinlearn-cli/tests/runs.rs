//! Runs that are killed, resumed, fine-tuned and logged.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::yield_now;

use support::{Folder, data, text};
use twinlearn::Model;

/// Starts a fit that logs to `log.jsonl`, and kills it (`kill -9`) when it has logged `lines` steps.
fn killed(folder: &Folder, args: &[&str], lines: usize) {
    let binary = assert_cmd::cargo::cargo_bin("twinlearn");
    let mut child = Command::new(binary)
        .current_dir(folder.path("."))
        .args(args)
        .args(["--log", "log.jsonl"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let logged = || std::fs::read_to_string(folder.path("log.jsonl")).unwrap_or_default();
    while logged().lines().count() < lines {
        assert!(child.try_wait().unwrap().is_none(), "it was to be killed after {lines} steps");
        yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_is_taken_up_to_the_same_bits() {
    let x = data("test_x.npy").display().to_string();
    for (name, options) in [
        (
            "BT",
            &["--projector", "mlp-1-128", "--retain-projector", "--validation-fraction", "0"][..],
        ),
        ("KL", &["--loss", "KL", "--learning-rate", "0.002"]),
    ] {
        let plain = Folder::new();
        let base = ["fit", &x, "-d", "16", "--epochs", "30", "--batch-size", "100"];
        plain.ok(&[&base[..], options, &["-o", "m.safetensors"]].concat());
        let wanted = plain.read("m.safetensors");
        // 9 or 10 steps an epoch, and many more than these.
        for lines in [1, 9, 10, 31] {
            let folder = Folder::new();
            let args = [&base[..], options, &["--output-folder", "run", "--threads", "2"]].concat();
            killed(&folder, &args, lines);
            let taken_up = ["--resume", "--threads", "1", "-o", "m.safetensors"];
            folder.ok(&[&args[..args.len() - 2], &taken_up].concat());
            let name = format!("{name}, killed at step {lines}");
            assert!(folder.read("m.safetensors") == wanted, "{name}");
            assert!(folder.read("run/final.safetensors") == wanted, "{name}");
            assert!(Model::load(folder.path("run/latest.safetensors")).is_err());
            let of_run = |file: &str| Path::new(&folder.path("run")).join(file).is_file();
            assert!(of_run("knn.npy"), "{name}");
        }
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_anew() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let args = ["fit", &x, "-d", "8", "--loss", "KL", "--epochs", "2", "--output-folder", "run"];
    let (_, err) = folder.ok(&[&args[..], &["--resume"]].concat());
    assert_eq!(err, "warning: run: no checkpoint yet: a new run begins\n");
    let first = folder.read("run/final.safetensors");
    assert!(Model::load(folder.path("run/best.safetensors")).is_ok());
    // A second run does not write over the first unasked.
    assert_eq!(
        folder.fails(&args),
        "run: expected a folder without a run (or resume), got a checkpoint"
    );
    assert!(first == folder.read("run/final.safetensors"));
    let other = [&args[..], &["--resume", "--tau", "0.1"]].concat();
    let error = folder.fails(&other);
    assert!(error.ends_with("expected a run with tau 0.1, got none"), "{error}");
    // The folder without what it is for is a usage error.
    let output = folder.run(&["fit", &x, "-o", "m.safetensors", "--resume"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_model_is_gone_on_from_with_its_projector() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let first = ["fit", &x, "-d", "8", "--projector", "mlp-1-64", "--retain-projector"];
    folder.ok(&[&first[..], &["-o", "1.safetensors", "--epochs", "3"]].concat());
    folder.ok(&["fit", &x, "--from", "1.safetensors", "-o", "2.safetensors", "--epochs", "1"]);
    let (out, _) = folder.ok(&["inspect", "2.safetensors", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["hyperparameters"]["init"], "model");
    assert_eq!(json["hyperparameters"]["projector"], "mlp-1-64");
    // It was not retained: one like it begins anew.
    folder.ok(&["fit", &x, "--from", "2.safetensors", "-o", "3.safetensors", "--epochs", "1"]);
    // A model of the defaults is gone on from with what it was made with.
    folder.ok(&["fit", &x, "-d", "8", "-o", "4.safetensors", "--epochs", "1", "--whiten", "0.25"]);
    folder.ok(&["fit", &x, "--from", "4.safetensors", "-o", "5.safetensors", "--epochs", "1"]);
    let settings = |name: &str| {
        let (out, _) = folder.ok(&["inspect", name, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        ["loss", "tau", "whiten", "n_components"].map(|key| json["hyperparameters"][key].clone())
    };
    assert_eq!(settings("4.safetensors"), settings("5.safetensors"));
}

#[test]
fn every_log_is_written() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let args = ["fit", &x, "-d", "8", "--loss", "KL", "--epochs", "2", "-o", "m.safetensors"];
    folder.ok(&[&args[..], &["--tensorboard", "events", "--log", "log.jsonl"]].concat());
    assert_eq!(text(&folder.read("log.jsonl")).lines().count(), 14);
    let events: Vec<_> = std::fs::read_dir(folder.path("events")).unwrap().collect();
    assert_eq!(events.len(), 1);
    let name = events[0].as_ref().unwrap().file_name().into_string().unwrap();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
}
