//! `--memory` is kept: the binary runs where the kernel gives it no more than that, on files that are
//! larger.
#![cfg(target_os = "linux")]

mod support;

use std::process::Command;

use support::{Folder, data, text};
use twinlearn::{FileVectors, NpyWriter, Vectors};

/// The data segment may have so many megabytes: heap, stacks of threads, everything that is written
/// to.
const BOUND: usize = 100;
/// The same of advice, which fits up to all dimensions; the file cannot be held in it either.
const ADVICE: usize = 148;

/// The development rows over and over, each time scaled by columns in another way.
const COPIES: usize = 17;

fn large_file(folder: &Folder) {
    let x = FileVectors::open(data("train_x.npy")).unwrap();
    let (n, dim) = (x.n_rows(), x.dim());
    let mut rows = vec![0.0; n * dim];
    x.read_rows(0, &mut rows).unwrap();
    let mut file = NpyWriter::create(folder.path("x.npy"), COPIES * n, dim).unwrap();
    for copy in 0..COPIES {
        let mut rows = rows.clone();
        for (i, v) in rows.iter_mut().enumerate() {
            *v *= 1.0 + 0.2 * ((i % dim * (copy + 3)) as f32).sin();
        }
        file.write_rows(&twinlearn::Matrix::new(n, dim, rows).unwrap()).unwrap();
    }
    file.commit().unwrap();
}

/// Runs with two threads where the kernel refuses more than the bound; returns the plan, which is
/// printed first.
fn bounded(folder: &Folder, megabytes: usize, args: &[&str]) -> String {
    let kilobytes = (megabytes * 1_000_000 / 1024).to_string();
    let output = Command::new("sh")
        .args(["-c", "ulimit -d \"$0\" && exec \"$@\"", &kilobytes])
        .arg(assert_cmd::cargo::cargo_bin("twinlearn"))
        .args(args)
        .args(["--memory", &format!("{megabytes}M"), "--threads", "2", "-v"])
        .current_dir(folder.path("."))
        .output()
        .unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    let plan = out.lines().next().unwrap_or_default();
    assert!(plan.contains(" MB (") && plan.contains(", about "), "{plan}");
    plan.to_owned()
}

#[test]
fn the_bound_is_kept_on_larger_files() {
    let folder = Folder::new();
    large_file(&folder);
    assert!(std::fs::metadata(folder.path("x.npy")).unwrap().len() > 104_000_000);

    let plan = bounded(&folder, BOUND, &["knn", "x.npy", "-k", "5", "-o", "bounded.npy"]);
    assert!(plan.contains(", each row read "), "{plan}");
    folder.ok(&["knn", "x.npy", "-k", "5", "-o", "free.npy"]);
    assert!(
        folder.read("bounded.npy") == folder.read("free.npy"),
        "exact results depend on nothing"
    );

    let fit = ["fit", "x.npy", "-d", "32", "-o"];
    let kl = ["m.safetensors", "--epochs", "1", "--knn", "free.npy"];
    bounded(&folder, BOUND, &[&fit[..], &kl].concat());
    let spectral = ["s.safetensors", "--solver", "spectral", "--fit-rows", "10000"];
    bounded(&folder, BOUND, &[&fit[..], &spectral].concat());

    for z in ["z.npy", "z.parquet", "z.i8bin"] {
        bounded(&folder, BOUND, &["transform", "m.safetensors", "x.npy", "-o", z]);
    }
    let eval = ["eval", "--original", "x.npy", "--model", "m.safetensors", "--n-queries", "200"];
    let plan = bounded(&folder, BOUND, &[&eval[..], &["--html", "page.html"]].concat());
    assert!(plan.starts_with("evaluation of at most 200 queries among 66000 rows"), "{plan}");
    let advise = ["advise", "x.npy", "--keep", "0.3", "--n-queries", "200", "--fit-rows", "3000"];
    let plan = bounded(&folder, ADVICE, &advise);
    assert!(plan.starts_with("advice on 67800 rows, about "), "{plan}");
}

/// How good a plan's bounds are is tried on a part of the rows, of which no more is kept than is needed.
#[test]
fn the_bound_is_kept_by_planning_a_search() {
    let folder = Folder::new();
    // Rows of a few heavy columns, so that axes are considered.
    let (n, dim) = (500_000, 24);
    let value = |i: usize| {
        let wave = ((i * 7919 % 9973) as f32 * 0.37).sin();
        if i % dim < 4 { 100.0 * wave } else { wave }
    };
    let write = |name: &str, n: usize| {
        let mut file = NpyWriter::create(folder.path(name), n, dim).unwrap();
        let rows = (0..n * dim).map(value).collect();
        file.write_rows(&twinlearn::Matrix::new(n, dim, rows).unwrap()).unwrap();
        file.commit().unwrap();
    };
    write("x.npy", n);
    write("q.npy", 2000);
    let search = ["knn", "x.npy", "--queries", "q.npy", "-o", "k.npy", "--metric", "l2", "-k", "5"];
    let plan = bounded(&folder, BOUND, &search);
    assert!(plan.contains("exact neighbours of 2000 rows among 500000"), "{plan}");
}

#[test]
fn too_little_is_refused_before_any_work() {
    let folder = Folder::new();
    let x = data("train_x.npy").display().to_string();
    folder.ok(&["fit", &x, "-d", "8", "--epochs", "1", "-o", "m.safetensors", "--loss", "KL"]);
    for args in [
        &["knn", &x, "-k", "3000", "-o", "k.npy", "--memory", "60M"][..],
        &["knn", &x, "-o", "k.npy", "--method", "pq", "-k", "2000", "--memory", "60M"],
        &["fit", &x, "-d", "300", "-o", "n.safetensors", "--memory", "60M"],
        &["eval", "--original", &x, "--model", "m.safetensors", "--memory", "60M"],
        &["advise", &x, "--memory", "60M"],
    ] {
        let message = folder.fails(args);
        assert!(message.starts_with("--memory: expected at least "), "{message}");
        assert!(message.contains(", vectors and program included, got 60.0 MB"), "{message}");
    }
    let message = folder.fails(&["knn", &x, "-o", "k.npy", "--memory", "20M", "--threads", "2"]);
    assert_eq!(message, "--memory: expected at least 51 MB, got 20 MB");
}
