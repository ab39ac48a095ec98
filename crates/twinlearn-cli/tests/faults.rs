//! What is left when things go wrong: killed commands, full and read-only disks, damaged files.
//! All places and moments are drawn by a seed.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, yield_now};
use std::time::{Duration, Instant};

use support::{Folder, data, small, text};

/// Numbers below `n`, by a multiplicative generator.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

fn binary() -> std::path::PathBuf {
    assert_cmd::cargo::cargo_bin("twinlearn")
}

const FIT: [&str; 9] =
    ["-d", "8", "--projector", "mlp-1-16", "--batch-size", "64", "--epochs", "12", "--threads"];

/// Runs to its end, or is killed (`kill -9`) at a moment; tells which, and how long it took.
fn run_until(folder: &Folder, args: &[&str], moment: Option<Duration>) -> (bool, Duration) {
    let start = Instant::now();
    let mut child = Command::new(binary())
        .current_dir(folder.path("."))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{args:?}");
            return (true, start.elapsed());
        }
        if moment.is_some_and(|moment| start.elapsed() >= moment) {
            child.kill().unwrap();
            child.wait().unwrap();
            return (false, start.elapsed());
        }
        yield_now();
    }
}

/// The files that have their names: what was never finished has none of ours.
fn named(folder: &Folder) -> Vec<String> {
    folder.files().into_iter().filter(|name| !name.starts_with(".twinlearn-")).collect()
}

fn real_rows(folder: &Folder, rows: usize) {
    use twinlearn::{FileVectors, Vectors};
    let x = FileVectors::open(data("train_x.npy")).unwrap();
    let mut values = vec![0.0; rows * x.dim()];
    x.read_rows(0, &mut values).unwrap();
    folder.npy("x.npy", rows, &values);
}

#[test]
fn killed_commands_leave_the_old_file_or_the_new_one() {
    let folder = Folder::new();
    real_rows(&folder, 1500);
    let fit = [&["fit", "x.npy", "-o", "m.safetensors"], &FIT[..], &["2"]].concat();
    let transform = ["transform", "m.safetensors", "x.npy", "-o", "z.npy", "--threads", "1"];
    let mut draws = Draws(1);
    for (args, output) in [(&fit[..], "m.safetensors"), (&transform[..], "z.npy")] {
        let (_, whole) = run_until(&folder, args, None);
        let new = folder.read(output);
        let mut killed = 0;
        for _ in 0..20 {
            // The old file is another one than what the command writes.
            std::fs::write(folder.path(output), b"old").unwrap();
            if output == "z.npy" {
                let model = folder.read("m.safetensors");
                assert!(model.len() > 3);
            }
            let moment = whole.mul_f64(draws.below(1000) as f64 / 1000.0);
            let (ended, _) = run_until(&folder, args, Some(moment));
            killed += usize::from(!ended);
            let found = folder.read(output);
            assert!(found == new || (!ended && found == b"old"), "{args:?} at {moment:?}");
            std::fs::write(folder.path(output), &new).unwrap();
        }
        assert!(killed > 0, "{args:?} was never killed in time");
    }
    assert_eq!(named(&folder), ["m.safetensors", "x.npy", "z.npy"]);
}

#[test]
fn killed_runs_go_on_to_the_same_bits() {
    let folder = Folder::new();
    real_rows(&folder, 1000);
    let fit =
        |run: &'static str| [&["fit", "x.npy", "--output-folder", run], &FIT[..], &["2"]].concat();
    let (_, whole) = run_until(&folder, &fit("whole"), None);
    let want = folder.read("whole/final.safetensors");
    let mut draws = Draws(2);
    let mut killed = 0;
    for _ in 0..20 {
        let _ = std::fs::remove_dir_all(folder.path("run"));
        let moment = whole.mul_f64(draws.below(1000) as f64 / 1000.0);
        let (ended, _) = run_until(&folder, &fit("run"), Some(moment));
        killed += usize::from(!ended);
        if !ended {
            folder.ok(&[&fit("run")[..], &["--resume"]].concat());
        }
        assert!(folder.read("run/final.safetensors") == want, "killed at {moment:?}");
    }
    assert!(killed > 0);
}

/// Where tmpfs can be mounted, for what is run in a mount namespace of its own; else it is said why
/// nothing was tested.
fn in_namespace(folder: &Folder, script: &str) -> Option<String> {
    let ways = [&["--mount"][..], &["--map-root-user", "--mount"]];
    let works = |way: &&[&str]| {
        let mount = "mount -t tmpfs -o size=16m tmpfs /mnt";
        let done = Command::new("unshare").args(*way).args(["sh", "-c", mount]).output();
        done.is_ok_and(|done| done.status.success())
    };
    let Some(way) = ways.into_iter().find(works) else {
        assert!(std::env::var_os("MOUNTS_ARE_NEEDED").is_none(), "cannot mount");
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "not tested: a tmpfs cannot be mounted here");
        return None;
    };
    let output = Command::new("unshare")
        .args(way)
        .args(["sh", "-c", script])
        .current_dir(folder.path("."))
        .env("TWINLEARN", binary())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout))
}

/// A folder with what the commands below need, and the commands: each writes to `disk/`.
fn with_inputs() -> (Folder, Vec<(&'static str, &'static str)>) {
    let folder = Folder::new();
    real_rows(&folder, 1200);
    folder.npy("small.npy", 60, &small(60));
    folder.ok(&[&["fit", "x.npy", "-o", "m.safetensors"], &FIT[..], &["1"]].concat());
    folder.ok(&["transform", "m.safetensors", "x.npy", "-o", "z.parquet"]);
    std::fs::create_dir(folder.path("disk")).unwrap();
    let commands = vec![
        ("model", "fit x.npy -o disk/model -d 8 --epochs 2"),
        ("z.npy", "transform m.safetensors x.npy -o disk/z.npy"),
        ("z.fbin", "transform m.safetensors x.npy -o disk/z.fbin"),
        ("z.parquet", "transform m.safetensors x.npy -o disk/z.parquet"),
        ("z.arrow", "transform m.safetensors x.npy -o disk/z.arrow"),
        ("knn.npy", "knn x.npy -k 10 -o disk/knn.npy"),
        ("graph.npy", "fit x.npy -o model2 -d 8 --epochs 2 --save-knn disk/graph.npy"),
        ("e.html", "eval --original x.npy --model m.safetensors --html disk/e.html"),
        ("run/latest.safetensors", "fit x.npy --output-folder disk/run -d 8 --epochs 2"),
    ];
    (folder, commands)
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let (folder, commands) = with_inputs();
    for (output, command) in commands {
        // What is left on the disk is less than any of the outputs.
        let script = format!(
            "mount -t tmpfs -o size=16m tmpfs disk && mkdir -p disk/run && printf old > disk/{output}
             head -c 16773120 /dev/zero > disk/filler 2> /dev/null
             $TWINLEARN {command} > out 2> err; echo $?; cat err; wc -c < out
             find disk -type f ! -name filler | sort | tr '\\n' ' '; cat disk/{output}"
        );
        let script = if output.starts_with("run/") {
            script
                .replace(&format!("printf old > disk/{output}"), "true")
                .replace(&format!("; cat disk/{output}"), "")
        } else {
            script
        };
        let Some(found) = in_namespace(&folder, &script) else { return };
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines[0], "1", "{command}: {found}");
        assert!(lines[1].starts_with("error: disk/"), "{found}");
        assert!(
            lines[1].contains("cannot write: ") && lines[1].contains("No space left"),
            "{found}"
        );
        if output.starts_with("run/") {
            assert!(!found.contains("latest"), "{found}");
        } else {
            assert_eq!(lines[3..], [format!("disk/{output} old")], "{command}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_the_work() {
    let (folder, commands) = with_inputs();
    for (output, command) in commands {
        let script = format!(
            "mount -t tmpfs -o ro tmpfs disk
             $TWINLEARN {command} > out 2> err; echo $?; cat err; wc -c < out; ls -A disk"
        );
        let Some(found) = in_namespace(&folder, &script) else { return };
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!((lines[0], lines.len()), ("1", 3), "{command}: {found}");
        // A run's folder is made when its vectors are known, after the plan.
        assert!(lines[2] == "0" || output.starts_with("run/"), "{command}: {found}");
        let place =
            if output.starts_with("run/") { "disk/run: cannot create" } else { "cannot write" };
        assert!(lines[1].contains(place) && lines[1].contains("Read-only"), "{found}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let (folder, _) = with_inputs();
    for args in [
        &["inspect", "m.safetensors"][..],
        &["knn", "x.npy", "-k", "3", "-o", "k.npy"],
        &["transform", "m.safetensors", "x.npy", "-o", "z.npy"],
        &["eval", "--original", "x.npy", "--model", "m.safetensors", "--no-baselines"],
    ] {
        let mut child = Command::new(binary())
            .current_dir(folder.path("."))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(0), String::new()),
            "{args:?}"
        );
        let mut child = Command::new(binary())
            .current_dir(folder.path("."))
            .args(["inspect", "missing"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}

/// Places at which each kind of file is damaged; `make test-slow` asks for more.
fn n_damages() -> usize {
    let asked = std::env::var("TWINLEARN_DAMAGES").ok();
    asked.map_or(50, |asked| asked.parse().expect("TWINLEARN_DAMAGES: a whole number"))
}

/// A damaged copy: cut off, or with one bit flipped.
fn damaged(whole: &[u8], place: usize, draws: &mut Draws) -> (String, Vec<u8>) {
    let at = draws.below(whole.len());
    if place.is_multiple_of(2) {
        return (format!("cut to {at} bytes"), whole[..at].to_vec());
    }
    let bit = draws.below(8);
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1 << bit;
    (format!("bit {bit} of byte {at} flipped"), bytes)
}

/// Runs a command, which names the damaged file `{}`, on each damaged copy.
fn try_damage(
    name: &str,
    whole: &[u8],
    args: &[&str],
    check: &(dyn Fn(&Folder, &Output, &str) + Sync),
) {
    // The seed is the name's, so that each kind has places of its own.
    let seed = name.bytes().fold(7, |seed: u64, b| seed.wrapping_mul(31).wrapping_add(b.into()));
    thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                let folder = Folder::new();
                folder.npy("small.npy", 60, &small(60));
                let mut draws = Draws(seed + half);
                for place in 0..n_damages() / 2 {
                    let (what, bytes) = damaged(whole, place, &mut draws);
                    std::fs::write(folder.path(name), &bytes).unwrap();
                    let output = folder.run(args);
                    let what = format!("{name}, {what}");
                    let (err, code) = (text(&output.stderr), output.status.code());
                    match code {
                        Some(0) => {}
                        Some(1) => {
                            assert!(err.starts_with("error: "), "{what}: {err}");
                            assert_eq!(err.matches('\n').count(), 1, "{what}: {err}");
                            assert!(!err.contains("internal"), "{what}: {err}");
                        }
                        _ => panic!("{what}: {code:?} {err}"),
                    }
                    check(&folder, &output, &what);
                }
            });
        }
    });
}

fn sorted(mut names: [&str; 2]) -> [&str; 2] {
    names.sort_unstable();
    names
}

#[test]
fn damaged_vectors_are_told_or_read() {
    let (folder, _) = with_inputs();
    let model = {
        let args = ["fit", "small.npy", "-o", "s.safetensors", "-d", "2", "--epochs", "2"];
        folder.ok(&args);
        folder.path("s.safetensors").display().to_string()
    };
    for name in [
        "x.npy",
        "fortran.npy",
        "half.npy",
        "x.npz",
        "stored.npz",
        "x.fvecs",
        "x.bvecs",
        "x.fbin",
        "x.u8bin",
        "x.parquet",
        "zstd.parquet",
        "x.arrow",
        "lz4.arrow",
        "x.arrows",
        "x.safetensors",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let args = ["transform", &model, name, "-o", "z.npy", "--threads", "1"];
        try_damage(name, &whole, &args, &|folder, output, what| {
            let written = folder.path("z.npy").exists();
            assert_eq!(written, output.status.code() == Some(0), "{what}");
            let _ = std::fs::remove_file(folder.path("z.npy"));
            assert_eq!(folder.files(), sorted(["small.npy", name]), "{what}");
        });
    }
}

/// 60 × 4 vectors in every format, by scripts/make_corpus.py.
fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn damaged_graphs_are_told_or_read() {
    let folder = Folder::new();
    folder.npy("small.npy", 60, &small(60));
    folder.ok(&["knn", "small.npy", "-k", "3", "-o", "graph.npy"]);
    let (shape, ids) = twinlearn::read_integers(folder.path("graph.npy")).unwrap();
    assert_eq!(shape, [60, 3]);
    let words = |words: &mut dyn Iterator<Item = i32>| words.flat_map(i32::to_le_bytes).collect();
    let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
    let ibin: Vec<u8> = words(&mut [60, 3].into_iter().chain(ids.iter().copied()));
    let row = |row: &[i32]| [&[3], row].concat();
    let ivecs: Vec<u8> = words(&mut ids.chunks(3).flat_map(row));
    for (name, whole) in
        [("graph.npy", folder.read("graph.npy")), ("graph.ibin", ibin), ("graph.ivecs", ivecs)]
    {
        let args = ["fit", "small.npy", "--knn", name, "-o", "m", "-d", "2", "-k", "3"];
        let args = [&args[..], &["--solver", "spectral", "--threads", "1"]].concat();
        std::fs::write(folder.path(name), &whole).unwrap();
        folder.ok(&args);
        try_damage(name, &whole, &args, &|folder, output, what| {
            let written = folder.path("m").exists();
            assert_eq!(written, output.status.code() == Some(0), "{what}");
            let _ = std::fs::remove_file(folder.path("m"));
            assert_eq!(folder.files(), sorted(["small.npy", name]), "{what}");
        });
    }
}

#[test]
fn damaged_models_are_always_noticed() {
    let folder = Folder::new();
    folder.npy("small.npy", 60, &small(60));
    folder.ok(&["fit", "small.npy", "-o", "m.safetensors", "-d", "2", "--epochs", "2"]);
    let whole = folder.read("m.safetensors");
    let args = ["transform", "m.safetensors", "small.npy", "-o", "z.npy", "--threads", "1"];
    try_damage("m.safetensors", &whole, &args, &|folder, output, what| {
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert_eq!(folder.files(), ["m.safetensors", "small.npy"], "{what}");
    });
}

#[test]
fn damaged_checkpoints_are_always_noticed() {
    let folder = Folder::new();
    folder.npy("small.npy", 60, &small(60));
    let options = ["-d", "2", "--projector", "mlp-1-8", "--epochs", "2", "--threads", "1"];
    folder.ok(&[&["fit", "small.npy", "--output-folder", "run"], &options[..]].concat());
    let whole = folder.read("run/latest.safetensors");
    let args = [&["fit", "small.npy", "--output-folder", ".", "--resume"], &options[..]].concat();
    try_damage("latest.safetensors", &whole, &args, &|folder, output, what| {
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert_eq!(folder.files(), ["latest.safetensors", "small.npy"], "{what}");
    });
}

/// Outputs that are there already: a FIFO is written through (so is `/dev/null`, which a rename
/// would make a plain file for everybody), a link stays a link, a file keeps its mode.
#[test]
fn what_an_output_is_stays_what_it_is() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = Folder::new();
    folder.npy("x.npy", 60, &small(60));
    folder.ok(&["knn", "x.npy", "-k", "3", "-o", "graph.npy"]);
    let wanted = folder.read("graph.npy");
    let knn = |output: &str| folder.ok(&["knn", "x.npy", "-k", "3", "-o", output]);
    let mode = |name: &str| folder.path(name).metadata().unwrap().permissions().mode() & 0o777;

    assert!(Command::new("mkfifo").arg(folder.path("fifo")).status().unwrap().success());
    let reader =
        Command::new("cat").arg(folder.path("fifo")).stdout(Stdio::piped()).spawn().unwrap();
    knn("fifo");
    assert_eq!(reader.wait_with_output().unwrap().stdout, wanted);
    assert!(folder.path("fifo").metadata().unwrap().file_type().is_fifo());

    std::fs::create_dir(folder.path("elsewhere")).unwrap();
    std::fs::write(folder.path("elsewhere/old.npy"), "old").unwrap();
    std::fs::set_permissions(
        folder.path("elsewhere/old.npy"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    for (link, target) in [("link.npy", "old.npy"), ("dangling.npy", "new.npy")] {
        symlink(Path::new("elsewhere").join(target), folder.path(link)).unwrap();
        knn(link);
        assert!(folder.path(link).symlink_metadata().unwrap().file_type().is_symlink());
        assert_eq!(folder.read(&format!("elsewhere/{target}")), wanted, "{link}");
    }
    assert_eq!(mode("elsewhere/old.npy"), 0o640);

    // Standard output gets all bytes, after the plan.
    folder.ok(&["fit", "x.npy", "-o", "m", "-d", "2", "--solver", "pca"]);
    let model = folder.read("m");
    let fit = ["fit", "x.npy", "-d", "2", "--solver", "pca", "-o", "/dev/stdout"];
    let out = folder.run(&fit).stdout;
    assert!(out.windows(model.len()).any(|bytes| bytes == model));
}
