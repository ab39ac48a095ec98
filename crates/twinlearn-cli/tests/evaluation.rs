//! `eval`, `advise` and pages, on the repository's data and on wrong input.

mod support;

use support::{Folder, data, small, text};

fn of(name: &str) -> String {
    data(name).display().to_string()
}

#[test]
fn eval_says_the_same_as_text_json_and_page() {
    let folder = Folder::new();
    let (x, q) = (of("train_x.npy"), of("test_x.npy"));
    folder.ok(&["fit", &x, "-o", "m.safetensors", "-d", "16", "--loss", "KL"]);
    folder.ok(&["transform", "m.safetensors", &x, "-o", "z.npy"]);
    folder.ok(&["transform", "m.safetensors", &q, "-o", "qz.npy"]);
    std::fs::write(folder.path("q.txt"), "test0 0 row7 1\ntest3 0 row9 2\n").unwrap();
    let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}\n")).collect::<String>();
    std::fs::write(folder.path("rows.txt"), ids("row", 4000)).unwrap();
    std::fs::write(folder.path("queries.txt"), ids("test", 1000)).unwrap();
    let (y, qy, texts) = (of("train_y.npy"), of("test_y.npy"), of("train.txt"));
    let args = [
        ["eval", "--original", &x, "--model", "m.safetensors", "--reduced", "z.npy"].as_slice(),
        &["--queries", &q, "--reduced-queries", "qz.npy", "--labels", &y, "--query-labels", &qy],
        &["--qrels", "q.txt", "--query-ids", "queries.txt", "--row-ids", "rows.txt"],
        &["--texts", &texts, "--json", "out.json", "--html", "out.html"],
    ]
    .concat();
    let (out, err) = folder.ok(&args);
    assert_eq!(err, "");
    let json: serde_json::Value = serde_json::from_slice(&folder.read("out.json")).unwrap();
    let methods = json["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["full vectors", "m.safetensors", "z.npy"]);
    assert_eq!(names.len(), 3 + 12);
    for (key, value) in methods[1].as_object().unwrap() {
        if !["name", "recall_behind_first"].contains(&key.as_str()) {
            assert_eq!(value, &methods[2][key], "{key}");
        }
    }
    let recall = format!("{:.3}", methods[1]["recall"]["value"].as_f64().unwrap());
    let page = text(&folder.read("out.html"));
    for said in [&out, &page] {
        for part in [recall.as_str(), "nDCG@10", "PCA γ=0.5", "spectral", "all 1000 queries"] {
            assert!(said.contains(part), "{part}");
        }
    }
    // The page holds what its script reads.
    let start = page.find("id=\"report-data\">").unwrap() + "id=\"report-data\">".len();
    let end = start + page[start..].find("</script>").unwrap();
    let shown: serde_json::Value = serde_json::from_str(&page[start..end]).unwrap();
    assert_eq!(shown["map"]["rows"].as_array().unwrap().len(), 4000);
    assert_eq!(shown["curves"][0]["name"], "m.safetensors");

    // One seed, one result, at any number of threads.
    let before = folder.read("out.json");
    folder.ok(&[&args[..], &["--threads", "1"]].concat());
    assert_eq!(folder.read("out.json"), before);
}

#[test]
fn advise_says_which_dimension() {
    let folder = Folder::new();
    let args = ["advise", &of("train_x.npy"), "--keep", "0.3", "--json", "a.json"];
    let (out, _) = folder.ok(&[&args[..], &["--html", "a.html"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&folder.read("a.json")).unwrap();
    let sentence = json["sentence"].as_str().unwrap();
    assert!(out.contains(sentence) && out.contains("MB less for 4000 rows."), "{out}");
    assert!(text(&folder.read("a.html")).contains(sentence));
    assert!(json["n_components"].as_u64().unwrap() <= 20);
}

#[test]
fn a_fit_has_a_page() {
    let folder = Folder::new();
    let (x, y, texts) = (of("train_x.npy"), of("train_y.npy"), of("train.txt"));
    folder.ok(&[
        "fit",
        &x,
        "-o",
        "m.safetensors",
        "-d",
        "8",
        "--loss",
        "KL",
        "--html",
        "m.html",
        "--labels",
        &y,
        "--texts",
        &texts,
    ]);
    let page = text(&folder.read("m.html"));
    for part in [
        "m.safetensors: 384 → 8",
        "held-out recall",
        "200 rows that were held out",
        "learning_rate",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn wrong_input_is_named_before_the_work() {
    let folder = Folder::new();
    folder.npy("x.npy", 60, &small(60));
    folder.npy("z.npy", 59, &small(59));
    folder.integers("y.npy", 59, &[0; 59]);
    std::fs::write(folder.path("texts.txt"), "one\ntwo\n").unwrap();
    std::fs::write(folder.path("q.txt"), "0 0 61 1\n").unwrap();
    let eval = |extra: &[&str]| {
        folder.fails(&[&["eval", "--original", "x.npy", "--reduced", "x.npy"], extra].concat())
    };
    assert_eq!(eval(&["--labels", "y.npy"]), "y.npy: expected 60, one for each row, got 59");
    assert_eq!(
        eval(&["--html", "r.html", "--texts", "texts.txt"]),
        "texts.txt: expected 60, one for each row, got 2"
    );
    assert_eq!(
        eval(&["--queries", "x.npy", "--reduced-queries", "x.npy", "--qrels", "q.txt"]),
        "--qrels: expected row numbers below 60, got 61"
    );
    assert_eq!(eval(&["-k", "40"]), "-k: expected a number from 1 to 22 for 60 rows, got 40");
    assert_eq!(
        folder.fails(&["eval", "--original", "x.npy", "--reduced", "z.npy"]),
        "z.npy: expected 60 rows, as the original has, got 59"
    );
    assert_eq!(
        folder.fails(&["advise", "x.npy", "--keep", "1.5"]),
        "--keep: expected a share between 0 and 1, got 1.5"
    );
    let fit = ["fit", "x.npy", "-o", "m.safetensors", "--html", "r.html", "--texts", "texts.txt"];
    assert_eq!(folder.fails(&fit), "texts.txt: expected 60, one for each row, got 2");
}

/// What is asked for on standard output has it to itself.
#[test]
fn a_dash_is_standard_output() {
    let folder = Folder::new();
    folder.npy("x.npy", 300, &small(300));
    let fit = ["fit", "x.npy", "-o", "m.safetensors", "-d", "2", "--loss", "BT", "--epochs", "2"];
    let (log, reported) = folder.ok(&[&fit[..], &["--log", "-"]].concat());
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 1 && lines[0]["step"] == 1, "{log}");
    assert!(reported.contains("m.safetensors\n  rows        300"), "{reported}");

    let eval = ["eval", "--original", "x.npy", "--model", "m.safetensors"];
    for (args, key, words) in [
        (&eval[..], "methods", "full vectors"),
        (&["advise", "x.npy", "--keep", "0.5"], "curves", "recall@10, d ="),
    ] {
        let (json, reported) = folder.ok(&[args, &["--json", "-"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json[key].is_array(), "{json}");
        assert!(reported.contains(words) && reported.contains(" MB\n"), "{reported}");
        let (page, reported) = folder.ok(&[args, &["--html", "-"]].concat());
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page:.120}");
        assert!(reported.contains(words), "{reported}");
    }
    let said = folder.fails(&[&eval[..], &["--json", "-", "--html", "-"]].concat());
    assert!(said.contains("a file that is no input and no other output"), "{said}");
    assert!(!folder.files().contains(&"-".to_owned()));
}
