//! Wrong input: one line, exit code 1, no file left behind.

mod support;

use support::{Folder, data, small, text};

/// A folder with a good `x.npy` (60 × 4) and `m.safetensors` (4 → 2).
fn folder() -> Folder {
    let folder = Folder::new();
    folder.npy("x.npy", 60, &small(60));
    folder.ok(&[
        "fit",
        "x.npy",
        "-o",
        "m.safetensors",
        "-d",
        "2",
        "--projector",
        "mlp-1-8",
        "--batch-size",
        "30",
        "--epochs",
        "2",
    ]);
    folder
}

fn fit(folder: &Folder, x: &str, extra: &[&str]) -> String {
    folder.fails(&[&["fit", x, "-o", "new.safetensors", "-d", "2"], extra].concat())
}

#[test]
fn bad_values_are_named_by_row_and_column() {
    let folder = folder();
    let mut values = small(60);
    values[4 * 17 + 2] = f32::NAN;
    folder.npy("nan.npy", 60, &values);
    let nan = "nan.npy: expected finite numbers, got NaN in row 17, column 2";
    assert_eq!(fit(&folder, "nan.npy", &[]), nan);
    assert_eq!(folder.fails(&["knn", "nan.npy", "-o", "k.npy"]), nan);
    assert_eq!(folder.fails(&["transform", "m.safetensors", "nan.npy", "-o", "z.npy"]), nan);

    values[4 * 17 + 2] = f32::INFINITY;
    folder.npy("inf.npy", 60, &values);
    let inf = "inf.npy: expected finite numbers in the range of f32 (3.4e38), got inf in row 17, column 2";
    assert_eq!(fit(&folder, "inf.npy", &[]), inf);

    std::fs::write(folder.path("run.jsonl"), "an older log").unwrap();
    assert_eq!(fit(&folder, "nan.npy", &["--log", "run.jsonl"]), nan);
    assert_eq!(folder.read("run.jsonl"), b"an older log");

    values[4 * 17..4 * 18].fill(0.0);
    folder.npy("zero.npy", 60, &values);
    let zero =
        "zero.npy: expected rows of non-zero length under metric cosine, got all zeros in row 17";
    assert_eq!(fit(&folder, "zero.npy", &[]), zero);
    assert_eq!(folder.fails(&["knn", "zero.npy", "-o", "k.npy"]), zero);
    folder.ok(&["knn", "zero.npy", "-o", "k.npy", "--metric", "l2"]);
}

#[test]
fn bad_shapes_are_named() {
    let folder = folder();
    folder.npy("one.npy", 1, &small(1));
    assert_eq!(fit(&folder, "one.npy", &[]), "one.npy: expected at least 2 rows, got 1");
    let header = |shape: &str| {
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        bytes.extend(dict.as_bytes());
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        bytes
    };
    std::fs::write(folder.path("empty.npy"), header("(0, 4)")).unwrap();
    assert_eq!(
        fit(&folder, "empty.npy", &[]),
        "empty.npy: expected at least one row and one column, got shape [0, 4]"
    );
    let flat = [header("(2,)"), vec![0; 8]].concat();
    std::fs::write(folder.path("flat.npy"), flat).unwrap();
    assert_eq!(fit(&folder, "flat.npy", &[]), "flat.npy: expected a 2-D array, got shape [2]");
}

#[test]
fn bad_files_are_named() {
    let folder = folder();
    let missing = fit(&folder, "missing.npy", &[]);
    assert!(missing.starts_with("missing.npy: cannot open: "), "{missing}");

    let whole = folder.read("x.npy");
    std::fs::write(folder.path("cut.npy"), &whole[..whole.len() - 5]).unwrap();
    let cut = "cut.npy: expected 960 bytes of data for shape [60, 4], got 955";
    assert_eq!(fit(&folder, "cut.npy", &[]), cut);
    std::fs::write(folder.path("text.npy"), "not an array").unwrap();
    let foreign = "text.npy: expected a .npy file, got a file of another kind";
    assert_eq!(fit(&folder, "text.npy", &[]), foreign);

    let model = folder.read("m.safetensors");
    std::fs::write(folder.path("cut.safetensors"), &model[..model.len() - 5]).unwrap();
    for command in [
        &["inspect", "cut.safetensors"][..],
        &["transform", "cut.safetensors", "x.npy", "-o", "z.npy"],
    ] {
        let line = folder.fails(command);
        let start = "cut.safetensors: expected a twinlearn model (.safetensors), got ";
        assert!(line.starts_with(start), "{line}");
    }
    let line = folder.fails(&["inspect", "x.npy"]);
    assert!(line.starts_with("x.npy: expected a twinlearn model"), "{line}");
}

#[test]
fn a_model_of_another_dimension_is_refused() {
    let folder = folder();
    let x = data("test_x.npy").display().to_string();
    assert_eq!(
        folder.fails(&["transform", "m.safetensors", &x, "-o", "z.npy"]),
        format!("{x}: expected vectors of dimension 4, which the model was fitted to, got 384")
    );
}

#[test]
fn values_that_are_no_choice_are_usage_errors_that_list_the_choices() {
    let folder = folder();
    let fit = ["fit", "x.npy", "-o", "new.safetensors"];
    let knn = ["knn", "x.npy", "-o", "new.npy"];
    for (command, option, value, wanted) in [
        (&fit[..], "--metric", "l1", "cosine, ip, l2"),
        (&fit, "--loss", "L2", "BT, KL, MSE, auto"),
        (&fit, "--init", "svd", "best, pca, spectral, random, model"),
        (&fit, "--solver", "svd", "sgd, spectral, pca"),
        (&fit, "--optimizer", "sgd", "lars, adamw"),
        (&fit, "--norm-layer", "GN", "BN, LN"),
        (&fit, "--recipe", "paper", "default, reference"),
        (&fit, "--knn-method", "hnsw", "auto, exact, descent, pq"),
        (&fit, "--encoder", "foo", "expected linear, flinear-H-W or mlp-H-W, got \"foo\""),
        (&fit, "--projector", "mlp-3-64-64", "expected mlp-3 to be followed by 1 or 3 widths"),
        (&knn, "--metric", "l1", "cosine, ip, l2"),
        (&knn, "--method", "hnsw", "auto, exact, descent, pq"),
        (&knn, "--approximation", "tiny", "low, medium, high"),
    ] {
        let before = folder.files();
        let output = folder.run(&[command, &[option, value]].concat());
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{option}: {err}");
        assert!(err.contains(wanted) && err.contains(option), "{option}: {err}");
        assert_eq!(folder.files(), before);
    }
}

#[test]
fn outputs_that_are_inputs_or_say_they_are_something_else_are_refused() {
    let folder = folder();
    std::fs::hard_link(folder.path("x.npy"), folder.path("other.npy")).unwrap();
    std::os::unix::fs::symlink("x.npy", folder.path("link.npy")).unwrap();
    std::fs::create_dir(folder.path("shards")).unwrap();
    std::fs::hard_link(folder.path("x.npy"), folder.path("shards/a.npy")).unwrap();
    let before = folder.read("x.npy");
    let twice = "a file that is no input and no other output of the command";
    for (command, wanted) in [
        ("fit x.npy -o x.npy -d 2", twice),
        ("fit x.npy -o m -d 2 --save-knn other.npy", twice),
        ("fit x.npy --from m.safetensors -o m.safetensors --epochs 1", twice),
        ("fit x.npy -d 2 -o run/final.safetensors --output-folder ./run", twice),
        ("knn x.npy -k 2 -o link.npy", twice),
        ("knn shards -k 2 -o shards/a.npy", twice),
        ("knn x.npy -k 2 --queries x.npy -o ./x.npy", twice),
        ("transform m.safetensors x.npy -o other.npy", twice),
        ("transform m.safetensors shards -o x.npy", twice),
        ("eval --original x.npy --model m.safetensors --json x.npy", twice),
        ("eval --original x.npy --model m.safetensors --html m.safetensors", twice),
        ("eval --original x.npy --model m.safetensors --html e --json e", twice),
        ("advise x.npy --json link.npy", twice),
        ("fit x.npy -o model.pkl -d 2", "a name that ends in .safetensors, got .pkl"),
        ("fit x.npy -o m -d 2 --save-knn g.txt", "a name that ends in .npy, got .txt"),
        ("fit x.npy -o m -d 2 --html p.pdf", "a name that ends in .html or .htm, got .pdf"),
        ("knn x.npy -k 2 -o k.txt", "a name that ends in .npy, got .txt"),
        ("advise x.npy --json a.npy", "a name that ends in .json, got .npy"),
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        if command.contains("./run") {
            // The run's folder is there, from a run before.
            std::fs::create_dir_all(folder.path("run")).unwrap();
        }
        let line = folder.fails(&args);
        assert!(line.contains(wanted), "{command}: {line}");
        assert_eq!(folder.read("x.npy"), before, "{command}");
    }
    folder.ok(&["fit", "x.npy", "-o", "model-v1.2", "-d", "2", "--solver", "pca"]);
}

#[test]
fn f16_does_not_make_numbers_infinite() {
    let folder = Folder::new();
    let rows: Vec<f32> = small(60).iter().map(|v| v * 1e6).collect();
    folder.npy("x.npy", 60, &rows);
    let fit = ["fit", "x.npy", "-d", "2", "--metric", "l2", "--solver", "pca"];
    folder.ok(&[&fit[..], &["-o", "m.safetensors"]].concat());
    std::fs::write(folder.path("z.npy"), "old").unwrap();
    let transform = ["transform", "m.safetensors", "x.npy", "-o", "z.npy", "--dtype", "f16"];
    let line = folder.fails(&transform);
    assert!(line.starts_with("--dtype: expected numbers within ±65504 for f16"), "{line}");
    assert!(line.contains(" in row ") && line.contains(", column "), "{line}");
    assert_eq!(folder.read("z.npy"), b"old");
    folder.ok(&[&transform[..], &["--l2-norm"]].concat());
}

#[test]
fn bad_parameters_are_named() {
    let folder = folder();
    folder.integers("g.npy", 60, &(0..60).map(|i| (i + 1) % 60).collect::<Vec<i64>>());
    assert_eq!(
        folder.fails(&["fit", "x.npy", "-o", "m", "-d", "2", "--solver", "pca", "--knn", "g.npy"]),
        "--knn: expected none with solver pca, which looks for no neighbours, got one"
    );
    let line = folder.fails(&["transform", "x.npy", "x.npy", "-o", "z.npy"]);
    assert_eq!(
        line,
        "x.npy: expected a twinlearn model (.safetensors), got a file of another kind"
    );
    for (extra, want) in [
        (&["-k", "60"][..], "-k: expected a number from 1 to 59 (one less than the rows), got 60"),
        (&["-k", "0"], "-k: expected at least 1, got 0"),
        (
            &["--epochs", "4", "--warmup-epochs", "4"],
            "--warmup-epochs: expected fewer than epochs (4), got 4",
        ),
        (
            // Whose epochs are as many as make a thousand steps.
            &["--init", "random", "--warmup-epochs", "5000"],
            "--warmup-epochs: expected fewer than epochs (250), got 5000",
        ),
        (&["--batch-size", "1"], "--batch-size: expected at least 2, got 1"),
        (
            &["--loss", "MSE", "--projector", "none"],
            "--projector: expected one that gives back the vectors with loss MSE, got none",
        ),
        (&["--gaussian", "--noise", "0"], "--noise: expected a finite number above 0, got 0"),
        (&["--noise", "1"], "--noise: expected none with neighbours as pairs, got 1"),
        (&["--loss", "BT", "--tau", "9"], "--tau: expected none with loss BT, got 9"),
        (
            &["--loss", "auto", "--tau", "0.7"],
            "--tau: expected none with loss auto, which chooses it, got 0.7",
        ),
        (
            &["--solver", "pca", "--epochs", "3"],
            "--epochs: expected none with solver pca, which does not train, got 3",
        ),
        (
            &["--gaussian", "--save-knn", "g.npy"],
            "--save-knn: expected no graph to save with gaussian pairs, got g.npy",
        ),
        (
            &["--solver", "pca", "--save-knn", "g.npy"],
            "--save-knn: expected no graph to save with solver pca, which looks for no neighbours, got \
             g.npy",
        ),
        (
            &["--solver", "pca", "--log", "l.jsonl"],
            "--log: expected none with solver pca, which does not train, got l.jsonl",
        ),
        (
            &["--solver", "spectral", "--output-folder", "run", "--snapshot-every", "5"],
            "--snapshot-every: expected none with solver spectral, which does not train, got 5",
        ),
        (
            &["--knn", "g.npy", "--knn-method", "pq"],
            "--knn-method: expected none beside --knn, a graph that is there, got pq",
        ),
        (&["--whiten", "9"], "--whiten: expected a number from 0 to 4, got 9"),
        (
            &["--loss", "KL", "--projector", "mlp-1-8"],
            "--projector: expected none with loss KL, got mlp-1-8",
        ),
        (&["--threads", "0"], "--threads: expected a number from 1 to 1024, got 0"),
    ] {
        assert_eq!(fit(&folder, "x.npy", extra), want);
    }
    for (d, want) in [
        ("0", "-d: expected at least 1, got 0"),
        ("1000000000000", "-d: expected at most 1048576, got 1000000000000"),
        ("5", "-d: expected at most 4, the dimension of X, got 5"),
    ] {
        let args = ["fit", "x.npy", "-o", "new.safetensors", "-d", d];
        assert_eq!(folder.fails(&args), want);
    }
    assert_eq!(
        folder.fails(&["knn", "x.npy", "-k", "60", "-o", "k.npy"]),
        "-k: expected a number from 1 to 59 (one less than the rows), got 60"
    );
    // What the machine has, where no bound was given.
    let line = fit(&folder, "x.npy", &["--encoder", "mlp-2-262144"]);
    assert!(line.starts_with("memory: expected at least "), "{line}");
    // As it was typed.
    assert_eq!(
        folder.fails(&["knn", "x.npy", "--n-neighbors=0", "-o", "k.npy"]),
        "--n-neighbors: expected a number from 1 to 59 (one less than the rows), got 0"
    );
}

#[test]
fn bad_queries_of_a_fit_are_named() {
    let folder = folder();
    folder.npy("wide.npy", 30, &small(60));
    let mut values = small(30);
    values[4 * 17 + 2] = f32::NAN;
    folder.npy("nan.npy", 30, &values);
    for (extra, want) in [
        (
            &["--queries", "wide.npy"][..],
            "--queries: expected at least 1 row of dimension 4, as X, got 30 of dimension 8",
        ),
        (
            &["--queries", "nan.npy"],
            "--queries: expected finite numbers, got NaN in row 17, column 2",
        ),
        (
            &["--queries", "x.npy", "--solver", "pca"],
            "--queries: expected none but with loss KL, solver sgd and neighbours as pairs, got queries \
             with loss KL, solver pca",
        ),
        (
            &["--queries", "x.npy", "--query-share", "1"],
            "--query-share: expected a share between 0 and 1, got 1",
        ),
    ] {
        assert_eq!(fit(&folder, "x.npy", extra), want);
    }
    let (out, _) =
        folder.ok(&["fit", "x.npy", "-o", "q.safetensors", "-d", "2", "--queries", "x.npy"]);
    assert!(out.contains("queries     54 trained on\n"), "{out}");
    assert!(out.contains("of 3 held-out queries kept"), "{out}");
    assert!(out.contains("of held-out queries: ") && !out.contains("of held-out rows: "), "{out}");
}

#[test]
fn models_of_several_metrics_are_judged_by_one_that_is_said() {
    let folder = folder();
    for metric in ["ip", "l2"] {
        let model = format!("{metric}.safetensors");
        folder.ok(&["fit", "x.npy", "-o", &model, "-d", "2", "--metric", metric]);
    }
    let both =
        ["eval", "--original", "x.npy", "--model", "ip.safetensors", "--model", "l2.safetensors"];
    assert_eq!(
        folder.fails(&both),
        "--metric: expected one to judge by, as the models have several, got ip and l2"
    );
    let (out, _) = folder.ok(&[&both[..], &["--metric", "l2"]].concat());
    assert!(out.contains("Neighbours by l2 of "), "{out}");
}

#[test]
fn a_log_may_lie_in_the_folder_of_its_run() {
    let folder = folder();
    folder.npy("y.npy", 480, &small(480));
    let fit = ["fit", "y.npy", "-d", "2", "--output-folder", "run", "--log", "run/log.jsonl"];
    folder.ok(&[&fit[..], &["--epochs", "2"]].concat());
    assert!(folder.read("run/log.jsonl").starts_with(b"{"));
}

#[test]
fn nested_sizes_are_cut_or_refused() {
    let folder = folder();
    let fit = ["fit", "x.npy", "-o", "n.safetensors", "-d", "3", "--epochs", "2", "--nested"];
    folder.ok(&[&fit[..], &["1,2"]].concat());
    folder.ok(&["transform", "n.safetensors", "x.npy", "-o", "z.npy"]);
    folder.ok(&["transform", "n.safetensors", "x.npy", "-o", "z2.npy", "--dim", "2"]);
    let floats = |name: &str| {
        let bytes = folder.read(name);
        let data = &bytes[bytes.len() - 60 * if name == "z.npy" { 12 } else { 8 }..];
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    let (whole, first) = (floats("z.npy"), floats("z2.npy"));
    assert!(whole.chunks_exact(3).zip(first.chunks_exact(2)).all(|(a, b)| a[..2] == *b));
    for (dim, model, want) in [
        ("4", "n", "--dim: expected one of 1, 2, 3 (what the model was fitted for), got 4"),
        ("1", "m", "--dim: expected 2 (a model fitted with nested sizes has others), got 1"),
    ] {
        let model = format!("{model}.safetensors");
        let args = ["transform", &model, "x.npy", "-o", "z3.npy", "--dim", dim];
        assert_eq!(folder.fails(&args), want);
    }
    let line = folder.fails(&[&fit[..2], &["-o", "o.safetensors"], &fit[4..], &["2,1"]].concat());
    assert_eq!(line, "--nested: expected sizes from 1 to 2, rising, got 2, 1");
    let line = folder.fails(&[&fit[..2], &["-o", "o.safetensors"], &fit[4..], &["3"]].concat());
    assert_eq!(line, "--nested: expected sizes from 1 to 2, rising, got 3");
    let transform = ["transform", "m.safetensors", "x.npy", "-o", "z4.npy"];
    for (extra, want) in [
        (
            &["--column", "a"][..],
            "--column: expected an output that is a table (.parquet or .arrow), got z4.npy",
        ),
        (
            &["--keep-original"],
            "--keep-original: expected an output that is a table (.parquet or .arrow), got z4.npy",
        ),
    ] {
        assert_eq!(folder.fails(&[&transform[..], extra].concat()), want);
    }
}

#[test]
fn bad_searches_are_named() {
    let folder = folder();
    folder.npy("wide.npy", 30, &small(60));
    for (extra, want) in [
        (
            &["--method", "exact", "--approximation", "low"][..],
            "--approximation: expected none with knn_method exact (it is for pq and auto), got low",
        ),
        (
            &["--queries", "x.npy", "--method", "descent"],
            "--method: expected auto or exact for a search of queries, got descent",
        ),
        (&["--queries", "wide.npy"], "--queries: expected vectors of dimension 4, got 8"),
        (&["--queries", "x.npy", "-k", "61"], "-k: expected a number from 1 to 60, got 61"),
    ] {
        assert_eq!(folder.fails(&[&["knn", "x.npy", "-o", "k.npy"], extra].concat()), want);
    }
    let line = folder.fails(&["knn", "x.npy", "-o", "k.npy", "--memory", "1K"]);
    assert!(line.starts_with("--memory: expected at least "), "{line}");
}

#[test]
fn bad_graphs_are_named() {
    let folder = folder();
    let ring =
        |n: i64| -> Vec<i64> { (0..n).flat_map(|i| (1..6).map(move |s| (i + s) % n)).collect() };
    folder.integers("short.npy", 50, &ring(50));
    assert_eq!(
        fit(&folder, "x.npy", &["--knn", "short.npy"]),
        "short.npy: expected 60 rows, one for each of X, got 50"
    );
    let mut out = ring(60);
    out[13] = 60;
    folder.integers("out.npy", 60, &out);
    assert_eq!(
        fit(&folder, "x.npy", &["--knn", "out.npy"]),
        "--knn: expected indices from 0 to 59, got 60 in row 2"
    );
    folder.integers("narrow.npy", 60, &ring(60)[..120]);
    assert_eq!(
        fit(&folder, "x.npy", &["--knn", "narrow.npy", "-k", "5"]),
        "--knn: expected at least n_neighbors (5) columns, got 2"
    );
    assert_eq!(
        fit(&folder, "x.npy", &["--knn", "x.npy"]),
        "x.npy: expected integers, got elements of type f32"
    );
}

#[test]
fn a_batch_above_the_rows_is_lowered_with_a_warning() {
    let folder = folder();
    let args = ["fit", "x.npy", "-o", "new.safetensors", "-d", "2", "--projector", "mlp-1-8"];
    // A default is lowered without a warning.
    assert_eq!(folder.ok(&args).1, "");
    let args = [&args[..], &["--batch-size", "512"]].concat();
    let (out, err) = folder.ok(&args);
    assert_eq!(err, "warning: batch_size: lowered from 512 to 60, the number of training rows\n");
    assert!(out.contains("8 steps of 60 rows"), "{out}");
}

#[test]
fn outputs_that_cannot_be_written_are_told_before_the_work() {
    let folder = folder();
    for args in [
        &["fit", "x.npy", "-o", "no/m.safetensors", "-d", "2"][..],
        &["fit", "x.npy", "-o", "new.safetensors", "-d", "2", "--log", "no/run.jsonl"],
        &["knn", "x.npy", "-o", "no/k.npy"],
        &["transform", "m.safetensors", "x.npy", "-o", "no/z.npy"],
    ] {
        let line = folder.fails(args);
        assert!(line.contains(": cannot write: "), "{line}");
    }
}

#[test]
fn only_text_goes_to_standard_output() {
    let folder = folder();
    for args in [["knn", "x.npy", "-o", "-"], ["fit", "x.npy", "-o", "-"]] {
        let output = folder.run(&args);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains("expected a file, as only text goes to standard output"), "{err}");
    }
    assert!(!folder.files().contains(&"-".to_owned()));
}

/// A FIFO that nobody writes to would be waited for, deaf to signals.
#[test]
#[cfg(unix)]
fn a_fifo_is_no_file_of_vectors_nor_a_model() {
    let folder = folder();
    let made = std::process::Command::new("mkfifo").arg(folder.path("fifo")).status().unwrap();
    assert!(made.success());
    let fifo = "got something that is no regular file";
    for args in [
        &["knn", "fifo", "-o", "k.npy"][..],
        &["knn", "x.npy", "--queries", "fifo", "-o", "k.npy"],
        &["fit", "x.npy", "-o", "new.safetensors", "-d", "2", "--knn", "fifo"],
        &["transform", "fifo", "x.npy", "-o", "z.npy"],
    ] {
        assert!(folder.fails(args).ends_with(fifo), "{args:?}");
    }
}
