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
        "run: expected a folder without a run, or resume to go on with it, got one with a run"
    );
    assert!(first == folder.read("run/final.safetensors"));
    let other = [&args[..], &["--resume", "--tau", "0.1"]].concat();
    let error = folder.fails(&other);
    assert!(
        error.ends_with("expected the options that the run was begun with, tau none, got tau 0.1"),
        "{error}"
    );
    // The folder without what it is for is a usage error.
    let output = folder.run(&["fit", &x, "-o", "m.safetensors", "--resume"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_run_that_is_taken_up_goes_on_with_its_logs() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let args = ["fit", &x, "-d", "8", "--epochs", "30", "--batch-size", "100"];
    let run = ["--output-folder", "run", "--threads", "2", "--tensorboard", "events"];
    let args = [&args[..], &run].concat();
    killed(&folder, &args, 31);
    folder.ok(&[&args[..], &["--log", "log.jsonl", "--resume"]].concat());
    let step = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["step"].as_u64().unwrap()
    };
    let log = text(&folder.read("log.jsonl"));
    let steps: Vec<u64> = log.lines().map(step).collect();
    assert!(steps.iter().copied().eq(1..=steps.len() as u64), "{steps:?}");
    assert!(steps.len() > 31);
    // Two files of events, of which the second tells TensorBoard from where it counts.
    assert_eq!(std::fs::read_dir(folder.path("events")).unwrap().count(), 2);
    // Without --resume a log begins anew.
    folder.ok(&["fit", &x, "-d", "8", "--epochs", "1", "-o", "m", "--log", "log.jsonl"]);
    assert!(text(&folder.read("log.jsonl")).lines().count() < 31);
}

#[test]
fn a_finished_run_can_be_lengthened() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let args = ["fit", &x, "-d", "8", "--output-folder", "run", "--log", "log.jsonl", "--epochs"];
    folder.ok(&[&args[..], &["3"]].concat());
    let lines = || text(&folder.read("log.jsonl")).lines().count();
    let before = lines();
    let (_, reported) = folder.ok(&[&args[..], &["4", "--resume"]].concat());
    assert!(reported.contains("warning: run: lengthened from 3 to 4 epochs"), "{reported}");
    assert_eq!(3 * lines(), 4 * before);
    let error = folder.fails(&[&args[..], &["2", "--resume"]].concat());
    assert!(
        error.ends_with("expected the options that the run was begun with, epochs 4, got epochs 2"),
        "{error}"
    );
}

#[test]
fn a_folder_has_one_run_at_a_time_and_its_graph_is_found_again() {
    let x = data("test_x.npy").display().to_string();
    let folder = Folder::new();
    let base = ["fit", &x, "-d", "8", "--epochs", "400", "--batch-size", "100", "--threads", "1"];
    folder.ok(&[&base[..], &["-o", "wanted"]].concat());
    let args = [&base[..], &["--output-folder", "run", "--snapshot-every", "400"]].concat();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("twinlearn"))
        .current_dir(folder.path("."))
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.path("run/run.json").exists() {
        assert!(child.try_wait().unwrap().is_none());
        yield_now();
    }
    let wanted = "run: expected a folder in which no run is going on, got one with a run";
    assert_eq!(folder.fails(&[&args[..], &["--seed", "1"]].concat()), wanted);
    child.kill().unwrap();
    child.wait().unwrap();
    // It was killed before its first checkpoint; its graph is there, and is not searched for again.
    assert!(!folder.path("run/latest.safetensors").exists());
    let (out, _) = folder.ok(&[&args[..], &["--resume"]].concat());
    assert!(!out.contains("\n  knn "), "{out}");
    assert!(folder.read("run/final.safetensors") == folder.read("wanted"));
    // A run of other settings does not take it.
    std::fs::remove_file(folder.path("run/latest.safetensors")).unwrap();
    let (out, _) = folder.ok(&[&args[..], &["--resume", "--seed", "1"]].concat());
    assert!(out.contains("\n  knn "), "{out}");
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
