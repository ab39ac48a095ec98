//! Runs the real binary in a folder of its own.

#![allow(dead_code, missing_docs, unreachable_pub)] // Each test binary uses its part.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use twinlearn::{Matrix, NpyWriter, OutputFile, write_npy_integers};

/// The repository's data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

/// An empty folder in which the binary runs.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Writes an f32 array.
    pub fn npy(&self, name: &str, rows: usize, values: &[f32]) {
        let cols = values.len() / rows;
        let mut file = NpyWriter::create(self.path(name), rows, cols).unwrap();
        file.write_rows(&Matrix::new(rows, cols, values.to_vec()).unwrap()).unwrap();
        file.commit().unwrap();
    }

    /// Writes an array of integers.
    pub fn integers(&self, name: &str, rows: usize, values: &[i64]) {
        write_npy_integers(OutputFile::create(self.path(name)).unwrap(), rows, values).unwrap();
    }

    /// Every file here, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn run(&self, args: &[&str]) -> Output {
        Command::cargo_bin("twinlearn")
            .unwrap()
            .current_dir(self.0.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs, expects success, and returns stdout and stderr.
    pub fn ok(&self, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
        (out, err)
    }

    /// Runs, expects exit code 1, one line on stderr, nothing (but a plan) on stdout
    /// and no new file; returns the line without its `error: `.
    pub fn fails(&self, args: &[&str]) -> String {
        let before = self.files();
        let output = self.run(args);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        let out = text(&output.stdout);
        let plans = ["fit", "transform", "eval", "advise", "knn"].contains(&args[0]);
        assert!(out.is_empty() || plans && out.lines().count() == 1, "{args:?}: {out}");
        assert_eq!(self.files(), before, "{args:?}");
        let line = err.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{args:?}: {err}");
        line.strip_prefix("error: ").unwrap().to_owned()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `rows` different rows of 4 columns.
pub fn small(rows: usize) -> Vec<f32> {
    (0..rows * 4).map(|i| ((i * 37 % 101) as f32 / 10.0).sin() + (i / 4) as f32 * 0.01).collect()
}
