//! Each sub-command on the repository's data.

mod support;

use support::{Folder, data, small, text};
use twinlearn::{FileVectors, KnnGraph, Model, Vectors, read_integers, recall_at_k};

/// A fit of some seconds.
fn quick_fit<'a>(x: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["fit", x, "-o", output, "-d", "16", "--projector", "mlp-1-128", "--epochs", "2"]
}

#[test]
fn fit_transform_and_inspect() {
    let folder = Folder::new();
    let x = data("train_x.npy").display().to_string();
    let mut args = quick_fit(&x, "m.safetensors");
    args.extend(["--log", "run.jsonl", "--save-knn", "knn.npy", "-k", "4"]);
    let (out, err) = folder.ok(&args);
    assert_eq!(err, "", "quiet when piped");
    for part in ["4000 (3600 trained on)", "384 → 16", "final loss", "recall@10", "200 held-out"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }

    // The model is what inspect says, as text and as JSON.
    let (out, _) = folder.ok(&["inspect", "m.safetensors"]);
    assert!(out.contains("384 → 16 dimensions") && out.contains("mlp-1-128"), "{out}");
    let (out, _) = folder.ok(&["inspect", "m.safetensors", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["n_features"], 384);
    assert_eq!(json["hyperparameters"]["n_neighbors"], 4);
    assert_eq!(json["arrays"][0]["shape"], serde_json::json!([16, 384]));

    // 3600 rows in batches of 512: 7 steps an epoch, each logged.
    let log = text(&folder.read("run.jsonl"));
    let steps: Vec<serde_json::Value> =
        log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(steps.len(), 14);
    assert_eq!(steps[13]["step"], 14);
    let mean = |s: &[serde_json::Value]| {
        s.iter().map(|v| v["loss"].as_f64().unwrap()).sum::<f64>() / s.len() as f64
    };
    assert!(mean(&steps[7..]) < mean(&steps[..7]), "the loss falls");

    // The command's reduced rows are the library's.
    let test = data("test_x.npy");
    folder.ok(&["transform", "m.safetensors", &test.display().to_string(), "-o", "z.npy"]);
    let ctx = twinlearn::Context::new().unwrap();
    let model = Model::load(folder.path("m.safetensors")).unwrap();
    let x = FileVectors::open(&test).unwrap();
    let want = model.transform(&ctx, &x, false).unwrap();
    let z = FileVectors::open(folder.path("z.npy")).unwrap();
    let mut got = vec![0.0; z.n_rows() * z.dim()];
    z.read_rows(0, &mut got).unwrap();
    assert_eq!(got, want.as_slice());

    let args = ["transform", "m.safetensors", &test.display().to_string(), "-o", "u.npy"];
    folder.ok(&[&args[..], &["--l2-norm"]].concat());
    let u = FileVectors::open(folder.path("u.npy")).unwrap();
    u.read_rows(0, &mut got).unwrap();
    for row in got.chunks_exact(16) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
}

#[test]
fn a_fit_says_that_nothing_is_trained() {
    let folder = Folder::new();
    folder.npy("x.npy", 50, &small(50));
    let (out, _) = folder.ok(&["fit", "x.npy", "-d", "2", "-o", "m.safetensors"]);
    let few =
        "  training    none: the start is kept as it is, there are too few rows to hold some out";
    assert!(out.contains(few), "{out}");
}

#[test]
fn a_saved_graph_gives_the_same_model() {
    let folder = Folder::new();
    let x = data("test_x.npy").display().to_string();
    let mut args = quick_fit(&x, "a.safetensors");
    args.extend(["--save-knn", "knn.npy"]);
    folder.ok(&args);
    let mut args = quick_fit(&x, "b.safetensors");
    args.extend(["--knn", "knn.npy"]);
    folder.ok(&args);
    assert_eq!(folder.read("a.safetensors"), folder.read("b.safetensors"));

    let (shape, knn) = read_integers(folder.path("knn.npy")).unwrap();
    assert_eq!(shape, [1000, 5]);
    folder.ok(&["knn", &x, "-k", "5", "-o", "again.npy"]);
    assert_eq!(read_integers(folder.path("again.npy")).unwrap().1, knn);
    let graph = KnnGraph::from_indices(1000, &knn).unwrap();
    assert!((0..1000).all(|i| !graph.neighbors(i).contains(&(i as u32))));
}

#[test]
fn seeds_and_threads() {
    let folder = Folder::new();
    let x = data("test_x.npy").display().to_string();
    let fit = |name: &str, extra: &[&str]| {
        let mut args = quick_fit(&x, name);
        args.extend(extra);
        folder.ok(&args);
        folder.read(name)
    };
    let first = fit("1.safetensors", &["--threads", "1"]);
    assert!(first == fit("again.safetensors", &["--threads", "1"]), "twice");
    for threads in ["2", "3", "4"] {
        assert!(first == fit("n.safetensors", &["--threads", threads]), "{threads} threads");
    }
    assert!(first != fit("seed.safetensors", &["--seed", "1"]), "another seed");
}

#[test]
fn every_architecture_and_option_trains() {
    let folder = Folder::new();
    folder.npy("x.npy", 120, &small(120));
    let base = ["fit", "x.npy", "-o", "m.safetensors", "-d", "3", "--epochs", "3", "--projector"];
    for (projector, extra) in [
        ("mlp-1-16", vec!["--encoder", "mlp-1-8"]),
        ("mlp-2-16-20", vec!["--encoder", "flinear-2-8-6", "--norm-layer", "LN"]),
        ("linear", vec!["--metric", "l2", "--retain-projector"]),
        ("none", vec!["--metric", "ip", "--init", "random", "--warmup-epochs", "0"]),
        ("mlp-1-16", vec!["--recipe", "reference", "--warmup-epochs", "1", "--batch-size", "32"]),
        ("mlp-1-16", vec!["--recipe", "reference", "--batch-size", "32"]),
        ("mlp-1-16", vec!["--pca-power", "1", "--learning-rate", "0.1", "-k", "7"]),
        ("mlp-1-16", vec!["--validation-fraction", "0"]),
        ("mlp-1-16", vec!["--init", "spectral", "--optimizer", "adamw", "--lambd", "0.01"]),
        ("none", vec!["--loss", "KL", "--encoder", "mlp-1-8", "--tau", "0.1"]),
        ("none", vec!["--loss", "KL", "--centre-target", "--whiten", "0.5"]),
        ("none", vec!["--loss", "auto"]),
        ("mlp-1-16", vec!["--loss", "MSE"]),
        ("linear", vec!["--loss", "MSE", "--gaussian", "--noise", "0.2", "--retain-projector"]),
        ("mlp-1-16", vec!["--gaussian", "--encoder", "mlp-1-8"]),
    ] {
        folder.ok(&[&base[..], &[projector], &extra].concat());
        folder.ok(&["transform", "m.safetensors", "x.npy", "-o", "z.npy"]);
        let z = FileVectors::open(folder.path("z.npy")).unwrap();
        assert_eq!((z.n_rows(), z.dim()), (120, 3), "{projector} {extra:?}");
        let retained = Model::load(folder.path("m.safetensors")).unwrap().has_projector();
        assert_eq!(retained, extra.contains(&"--retain-projector"));
    }
    // A hidden layer too narrow for a linear start.
    for (width, warns) in [(5, true), (6, false)] {
        let encoder = format!("mlp-1-{width}");
        let args = ["fit", "x.npy", "-o", "m.safetensors", "-d", "3", "--encoder", &encoder];
        let (_, reported) = folder.ok(&args);
        let warning = format!("encoder: {encoder} with norm_layer BN cannot begin as a linear");
        assert_eq!(reported.contains(&warning), warns, "{reported}");
    }
    for solver in ["spectral", "pca"] {
        let args = ["fit", "x.npy", "-o", "m.safetensors", "-d", "3", "--solver", solver];
        folder.ok(&args);
        folder.ok(&[&args[..], &["--pca-power", "1"]].concat());
    }
}

#[test]
fn demo_measures_what_it_prints() {
    let folder = Folder::new();
    let path = data("").display().to_string();
    let (out, _) = folder.ok(&["demo", "--data", &path]);
    let column = |method: &str, i: usize| -> f64 {
        let line = out.lines().find(|l| l.starts_with(method)).unwrap();
        line[method.len()..].split_whitespace().nth(i).unwrap().parse().unwrap()
    };
    assert_eq!(column("full vectors", 1), 1.0);
    assert!(column("PCA", 1) > column("random projection", 1), "{out}");
    assert!(column("best PCA", 1) >= column("PCA", 1) - 0.01, "{out}");
    assert!(column("TLDR", 1) > column("best PCA", 1) + 0.02, "{out}");
    assert_eq!(column("TLDR", 3), 128.0);
    let verdict = out.lines().find(|l| l.starts_with("Recall of TLDR: ")).unwrap();
    let gain = column("TLDR", 1) - column("best PCA", 1);
    let said = verdict["Recall of TLDR: ".len()..].split(' ').next().unwrap();
    assert!((said.parse::<f64>().unwrap() / 100.0 - gain).abs() < 0.0011, "{out}");
    assert!(verdict.ends_with(") more than best PCA."), "{verdict}");

    // PCA's figure again, by the library.
    let ctx = twinlearn::Context::new().unwrap();
    let [train, test] = ["train_x.npy", "test_x.npy"].map(|f| FileVectors::open(data(f)).unwrap());
    let map = twinlearn::Pca::fit(&ctx, &train).unwrap().unwrap().projection(32, 0.0).unwrap();
    let [a, b] = [&train, &test].map(|x| map.transform(&ctx, x).unwrap());
    let knn = twinlearn::KnnParams::new(10);
    let truth = twinlearn::knn_search(&ctx, &test, &train, &knn).unwrap();
    let found = twinlearn::knn_search(&ctx, &b, &a, &knn).unwrap();
    let recall = recall_at_k(truth.ids(), found.ids(), 10).unwrap();
    assert!((recall - column("PCA", 1)).abs() < 6e-4, "{recall}");
    assert!(out.contains("not among the 10 nearest"), "{out}");
}

#[test]
fn knn_by_every_method() {
    let folder = Folder::new();
    let x = data("train_x.npy").display().to_string();
    let knn = |name: &str, extra: &[&str]| {
        let (out, err) = folder.ok(&[&["knn", &x, "-o", name], extra].concat());
        assert_eq!(err, "", "quiet when piped");
        let lines: Vec<&str> = out.lines().collect();
        let [.., last] = lines[..] else { panic!("{out}") };
        assert!(last.starts_with(&format!("{name}: 10 nearest neighbours of 4000 rows")), "{out}");
        let (shape, ids) = read_integers(folder.path(name)).unwrap();
        assert_eq!(shape, [4000, 10]);
        (lines[0].to_owned(), ids.iter().map(|&id| id as u32).collect::<Vec<_>>())
    };
    // The plan is printed before the work: method, cost, memory.
    let (plan, exact) = knn("exact.npy", &["--method", "exact", "--memory", "64M"]);
    assert!(plan.starts_with("exact neighbours of 4000 rows, about 1 s, "), "{plan}");
    assert!(plan.ends_with(" MB"), "{plan}");
    let (detailed, _) = knn("exact.npy", &["--method", "exact", "--memory", "64M", "-v"]);
    assert!(detailed.starts_with(&format!("{plan} (384 dimensions, ")), "{detailed}");
    assert_eq!(knn("auto.npy", &[]).1, exact);
    for (extra, begins, least) in [
        (&["--method", "descent"][..], "neighbours of 4000 rows by NN-descent, about ", 0.97),
        (&["--method", "pq"], "product quantisation of 4000 rows", 0.4),
        (&["--approximation", "low", "--seed", "3"], "product quantisation of 4000 rows", 0.6),
    ] {
        let (plan, found) = knn("found.npy", extra);
        assert!(plan.starts_with(begins), "{plan}");
        let recall = recall_at_k(&exact, &found, 10).unwrap();
        assert!(recall > least, "{extra:?}: {recall}");
    }
}

#[test]
fn knn_of_queries_is_the_librarys() {
    let folder = Folder::new();
    let [x, q] = ["train_x.npy", "test_x.npy"].map(|f| data(f).display().to_string());
    folder.ok(&["knn", &x, "-k", "3", "-o", "found.npy", "--queries", &q, "--metric", "l2"]);
    let (shape, found) = read_integers(folder.path("found.npy")).unwrap();
    assert_eq!(shape, [1000, 3]);
    let ctx = twinlearn::Context::new().unwrap();
    let [x, q] = [x, q].map(|path| FileVectors::open(path).unwrap());
    let params = twinlearn::KnnParams::new(3).metric(twinlearn::Metric::L2);
    let want = twinlearn::knn_search(&ctx, &q, &x, &params).unwrap();
    assert_eq!(found, want.to_indices());
}

#[test]
fn fit_takes_the_method_of_its_graph_and_graphs_of_any_integers() {
    let folder = Folder::new();
    let x = data("test_x.npy").display().to_string();
    let fit = |extra: &[&str]| {
        let args = quick_fit(&x, "m.safetensors");
        let (out, _) = folder.ok(&[&args[..], extra].concat());
        (out, folder.read("m.safetensors"))
    };
    let more = data("train_x.npy").display().to_string();
    let args = quick_fit(&more, "more.safetensors");
    let (out, _) = folder.ok(&[&args[..], &["--knn-method", "descent"]].concat());
    assert!(out.contains("\nneighbours of 4000 rows by NN-descent, "), "{out}");
    assert!(out.contains("\nNN-descent found "), "{out}");
    // Few rows are compared one with another.
    let (out, _) = fit(&["--knn-method", "descent"]);
    assert!(out.contains("\nexact neighbours of 1000 rows"), "{out}");
    let (out, _) = fit(&["--knn-approximation", "low", "--save-knn", "knn.npy"]);
    assert!(out.contains("\nproduct quantisation of 1000 rows"), "{out}");
    let (json, _) = folder.ok(&["inspect", "m.safetensors", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["hyperparameters"]["knn_approximation"], "low");

    // The same graph, with each row in its own list first, as i32, u32, i64 and u64.
    let (_, knn) = read_integers(folder.path("knn.npy")).unwrap();
    let (_, model) = fit(&["--knn", "knn.npy"]);
    let mut models = Vec::new();
    for (descr, width) in [("<i4", 4), ("<u4", 4), ("<i8", 8), ("<u8", 8)] {
        let lists = knn.chunks(5).enumerate();
        let with_self = lists.flat_map(|(i, list)| [&[i as i64], list].concat());
        let data = with_self.flat_map(|id| id.to_le_bytes().into_iter().take(width));
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1000, 6), }}");
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(format!("{dict:<117}\n").as_bytes());
        bytes.extend(data);
        std::fs::write(folder.path("given.npy"), bytes).unwrap();
        models.push(fit(&["--knn", "given.npy"]).1);
    }
    assert!(models.iter().all(|m| *m == model), "self is passed over, widths are one");
}

#[test]
fn usage_errors_exit_with_2_and_help_has_examples() {
    let folder = Folder::new();
    let memory = ["knn", "x.npy", "-o", "y", "--memory", "lots"];
    for args in
        [&["fit"][..], &["knn", "x.npy", "-k", "ten", "-o", "y"], &memory, &["nothing"], &[]]
    {
        assert_eq!(folder.run(args).status.code(), Some(2), "{args:?}");
    }
    for command in ["fit", "transform", "knn", "inspect", "demo"] {
        let (out, _) = folder.ok(&[command, "--help"]);
        assert!(out.contains(&format!("  twinlearn {command}")), "{out}");
    }
}
