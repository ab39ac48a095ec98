//! Files of vectors: what is read, held or in place, and what is said of files that are wrong.

use std::io::Write;
use std::path::{Path, PathBuf};

use twinlearn_core::{CancelToken, Context, Error};
use twinlearn_vectors::{FileVectors, VectorSource, Vectors, read_integers};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What is said of a file, with its bare name.
    fn error(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.write(name, bytes);
        self.said(&VectorSource::open(path).unwrap_err())
    }

    fn said(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// As NumPy writes it.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let dict = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(dict.as_bytes());
    bytes.resize(127, b' ');
    bytes.push(b'\n');
    bytes.extend(data);
    bytes
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// All rows, by runs and by number, held and in place: which must be the same.
fn rows(path: &Path) -> Vec<Vec<f32>> {
    let ctx = Context::with_threads(2).unwrap();
    let [held, placed] = [usize::MAX, 0]
        .map(|memory| FileVectors::load(&ctx, VectorSource::open(path).unwrap(), memory).unwrap());
    let (n, dim) = (held.n_rows(), held.dim());
    let ids: Vec<u32> = (0..n as u32).collect();
    let some: Vec<u32> = ids.iter().copied().filter(|id| id % 3 == 1).collect();
    let source = VectorSource::open(path).unwrap();
    let sample = FileVectors::load_rows(&ctx, &source, &some, usize::MAX).unwrap();
    let mut all = vec![0.0; n * dim];
    held.read_rows(0, &mut all).unwrap();
    let mut other = vec![0.0; n * dim];
    placed.read_rows(0, &mut other).unwrap();
    assert!(all == other, "in place");
    for x in [&held, &placed] {
        other.fill(0.0);
        x.gather(&ids, &mut other).unwrap();
        assert!(all == other, "gathered");
    }
    let all: Vec<Vec<f32>> = all.chunks(dim).map(<[f32]>::to_vec).collect();
    let mut row = vec![0.0; dim];
    for (i, &id) in some.iter().enumerate() {
        sample.read_rows(i, &mut row).unwrap();
        assert_eq!(row, all[id as usize], "row {id} of a sample");
    }
    assert_eq!(placed.n_held_bytes(), 0);
    all
}

/// A number that every type holds.
fn value(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 3) % 100) as f32
}

fn table(n: usize, dim: usize) -> Vec<Vec<f32>> {
    (0..n).map(|i| (0..dim).map(|j| value(i, j)).collect()).collect()
}

#[test]
fn rows_after_their_dimension() {
    let folder = Folder::new();
    for dim in [3, 20_000] {
        let mut files = [Vec::new(), Vec::new(), Vec::new()];
        for row in table(40, dim) {
            for file in &mut files {
                file.extend((dim as i32).to_le_bytes());
            }
            files[0].extend(le(&row));
            files[1].extend(row.iter().map(|&v| v as u8));
            files[2].extend(row.iter().flat_map(|&v| (v as i32).to_le_bytes()));
        }
        for (name, bytes) in ["x.fvecs", "x.bvecs", "x.ivecs"].iter().zip(&files) {
            assert!(rows(&folder.write(name, bytes)) == table(40, dim), "{name} {dim}");
        }
    }
    let mut bad: Vec<u8> = [2_i32, 1, 2].iter().flat_map(|v| v.to_le_bytes()).collect();
    bad.extend([3_i32, 1, 2].iter().flat_map(|v| v.to_le_bytes()));
    let path = folder.write("bad.ivecs", &bad);
    let error = FileVectors::open(path).unwrap_err();
    assert_eq!(folder.said(&error), "bad.ivecs: expected dimension 2 in every row, got 3 in row 1");
    assert_eq!(
        folder.error("cut.ivecs", &bad[..20]),
        "cut.ivecs: expected a multiple of 12 bytes, with 2 dimensions, got 20"
    );
    assert_eq!(
        folder.error("neg.fvecs", &[255; 8]),
        "neg.fvecs: expected a dimension from 1 at the start, got -1"
    );
    assert_eq!(
        folder.error("empty.fvecs", &[]),
        "empty.fvecs: expected a dimension in 4 bytes, got 0 bytes"
    );
}

#[test]
fn rows_after_their_number() {
    let folder = Folder::new();
    let (n, dim) = (30, 5);
    let header: Vec<u8> = [n as u32, dim as u32].iter().flat_map(|v| v.to_le_bytes()).collect();
    let numbers: Vec<f32> = table(n, dim).concat();
    let half: Vec<u8> = numbers.iter().flat_map(|&v| half_bits(v).to_le_bytes()).collect();
    let ints: Vec<u8> = numbers.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect();
    let bytes: Vec<u8> = numbers.iter().map(|&v| v as u8).collect();
    for (name, data) in [
        ("x.fbin", le(&numbers)),
        ("x.f16bin", half),
        ("x.u8bin", bytes.clone()),
        ("x.i8bin", bytes),
        ("x.ibin", ints),
    ] {
        let path = folder.write(name, &[header.clone(), data].concat());
        assert!(rows(&path) == table(n, dim), "{name}");
    }
    assert_eq!(
        folder.error("cut.fbin", &[header.clone(), vec![0; 599]].concat()),
        "cut.fbin: expected 600 bytes of data for shape [30, 5], got 599"
    );
    let lying: Vec<u8> = [u32::MAX, u32::MAX].iter().flat_map(|v| v.to_le_bytes()).collect();
    let said = folder.error("lying.fbin", &lying);
    assert!(said.starts_with("lying.fbin: expected more than memory can address"), "{said}");
    assert_eq!(
        folder.error("short.fbin", &[0; 7]),
        "short.fbin: expected rows and columns in 8 bytes, got 7 bytes"
    );
}

/// The bits of a small whole number as f16.
fn half_bits(v: f32) -> u16 {
    if v == 0.0 {
        return 0;
    }
    let bits = v.to_bits();
    (((bits >> 23) as u16) - 112) << 10 | ((bits >> 13) & 0x3ff) as u16
}

#[test]
fn arrays_of_numpy() {
    let folder = Folder::new();
    let (n, dim) = (50, 4);
    let want = table(n, dim);
    let numbers = want.concat();
    let shape = format!("({n}, {dim})");
    let wide: Vec<u8> = numbers.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    for (descr, data) in [
        ("<f4", le(&numbers)),
        ("<f8", wide),
        ("<f2", numbers.iter().flat_map(|&v| half_bits(v).to_le_bytes()).collect()),
        ("|i1", numbers.iter().map(|&v| v as u8).collect()),
        ("<u2", numbers.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect()),
        ("<i8", numbers.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect()),
    ] {
        assert!(rows(&folder.write("x.npy", &npy(descr, false, &shape, &data))) == want, "{descr}");
    }
    // The highest byte first, and axes of length 1.
    let swapped: Vec<u8> = numbers.iter().flat_map(|v| v.to_be_bytes()).collect();
    let (one, last) = (format!("({n}, 1, {dim})"), format!("({n}, {dim}, 1)"));
    for (descr, shape) in [(">f4", &shape), (">f4", &one), (">f4", &last)] {
        let path = folder.write("x.npy", &npy(descr, false, shape, &swapped));
        assert!(rows(&path) == want, "{descr} {shape}");
    }
    assert!(rows(&folder.write("x.npy", &npy("<f4", false, &one, &le(&numbers)))) == want);
    let bits = numbers.iter().map(|&v| u8::from(v > 3.0)).collect::<Vec<_>>();
    let want_bits: Vec<Vec<f32>> = want
        .iter()
        .map(|row| row.iter().map(|&v| f32::from(u8::from(v > 3.0))).collect())
        .collect();
    assert!(rows(&folder.write("x.npy", &npy("|b1", false, &shape, &bits))) == want_bits);
    let turned: Vec<f32> = (0..dim).flat_map(|j| (0..n).map(move |i| value(i, j))).collect();
    let path = folder.write("fortran.npy", &npy("<f4", true, &shape, &le(&turned)));
    assert!(rows(&path) == want, "Fortran order");
    let swapped: Vec<u8> = turned.iter().flat_map(|v| v.to_be_bytes()).collect();
    let path = folder.write("fortran.npy", &npy(">f4", true, &one, &swapped));
    assert!(rows(&path) == want, "Fortran order, the highest byte first");
    // The content counts, not the name.
    let path = folder.write("x.data", &npy("<f4", false, &shape, &le(&numbers)));
    assert!(rows(&path) == want);
}

#[test]
fn wrong_arrays_are_named() {
    let folder = Folder::new();
    let of =
        |descr, shape, len: usize| folder.error("x.npy", &npy(descr, false, shape, &vec![0; len]));
    assert_eq!(
        of("<f4", "(3, 2)", 23),
        "x.npy: expected 24 bytes of data for shape [3, 2], got 23"
    );
    assert_eq!(of("<f4", "(6,)", 24), "x.npy: expected a 2-D array, got shape [6]");
    assert_eq!(
        of("<f4", "(0, 6)", 0),
        "x.npy: expected at least one row and one column, got shape [0, 6]"
    );
    assert_eq!(
        of("<c8", "(1, 1)", 8),
        "x.npy: expected floats of at most 64 bits, integers or booleans, got elements of type \"<c8\""
    );
    assert_eq!(of("<f4", "(1, 2, 3)", 24), "x.npy: expected a 2-D array, got shape [1, 2, 3]");
    assert_eq!(
        of("<f4", "(18446744073709551615, 2)", 4),
        "x.npy: expected more than memory can address bytes of data for shape \
         [18446744073709551615, 2], got 4"
    );
    assert_eq!(folder.error("x.npy", b""), "x.npy: expected a .npy file, got an empty file");
    assert_eq!(
        folder.error("x.npy", b"PL"),
        "x.npy: expected a .npy file, got a file of another kind"
    );
    let said = folder.error("x.csv", b"1,2,3");
    assert!(said.starts_with("x.csv: expected a file of vectors (.npy, "), "{said}");
    assert!(said.ends_with("got a file of another kind"), "{said}");
}

#[test]
fn several_files_are_one_set() {
    let folder = Folder::new();
    let want = table(30, 4);
    let part =
        |rows: &[Vec<f32>]| npy("<f4", false, &format!("({}, 4)", rows.len()), &le(&rows.concat()));
    folder.write("b.npy", &part(&want[12..13]));
    folder.write("a.npy", &part(&want[..12]));
    let mut bin: Vec<u8> = [17_u32, 4].iter().flat_map(|v| v.to_le_bytes()).collect();
    bin.extend(want[13..].concat().iter().map(|&v| v as u8));
    folder.write("c.u8bin", &bin);
    folder.write("notes.txt", b"not vectors");
    folder.write(".hidden.npy", b"not vectors");
    assert!(rows(folder.0.path()) == want);
    assert!(rows(&folder.0.path().join("[ab].npy")) == want[..13]);
    let source = VectorSource::open(folder.0.path()).unwrap();
    assert_eq!((source.n_rows(), source.dim(), source.dtype()), (30, 4, "f32"));
    assert_eq!(source.n_bytes(), 13 * 16 + 17 * 4);

    // Parts without a row, and a folder whose name could be a pattern.
    folder.write("bb.npy", &npy("<f4", false, "(0, 4)", &[]));
    assert!(rows(folder.0.path()) == want);
    let other = folder.0.path().join("data[v2]");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(folder.0.path().join("a.npy"), other.join("a.npy")).unwrap();
    assert!(rows(&other.join("*.npy")) == want[..12]);
    assert!(rows(&other) == want[..12]);

    let error = VectorSource::open(folder.0.path().join("x*.npy")).unwrap_err();
    assert_eq!(folder.said(&error), "x*.npy: expected a pattern that some file fits, got none");
    folder.write("d.npy", &npy("<f4", false, "(1, 3)", &[0; 12]));
    let said = folder.said(&VectorSource::open(folder.0.path()).unwrap_err());
    assert!(said.starts_with("d.npy: expected dimension 4, as in "), "{said}");
    assert!(said.ends_with("a.npy, got 3"), "{said}");
}

/// More files than are kept open at once.
#[test]
fn very_many_files_are_one_set() {
    let folder = Folder::new();
    let want = table(300, 4);
    for (i, row) in want.iter().enumerate() {
        folder.write(&format!("{i:03}.npy"), &npy("<f4", false, "(1, 4)", &le(row)));
    }
    assert!(rows(folder.0.path()) == want);
    let ctx = Context::with_threads(2).unwrap();
    let source = VectorSource::open(folder.0.path()).unwrap();
    let placed = FileVectors::load(&ctx, source, 0).unwrap();
    // Not by its name alone is a file the one that it was.
    let new = folder.write("new", &npy("<f4", false, "(1, 4)", &le(&want[0])));
    std::fs::rename(new, folder.0.path().join("007.npy")).unwrap();
    let mut row = [0.0; 4];
    placed.read_rows(8, &mut row).unwrap();
    let said = folder.said(&placed.read_rows(7, &mut row).unwrap_err());
    assert!(said.contains("007.npy") && said.contains("another file"), "{said}");
}

#[test]
fn tensors_by_name() {
    let folder = Folder::new();
    let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"y":{"dtype":"I64","shape":[2],"data_offsets":[24,40]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(le(&table(2, 3).concat()));
    bytes.extend([5_i64, -6].iter().flat_map(|v| v.to_le_bytes()));
    let path = folder.write("x.safetensors", &bytes);
    let named = |name: &str| PathBuf::from(format!("{}::{name}", path.display()));
    assert!(rows(&named("a")) == table(2, 3));
    assert_eq!(read_integers(named("y")).unwrap(), (vec![2], vec![5, -6]));
    assert_eq!(
        folder.said(&VectorSource::open(&path).unwrap_err()),
        "x.safetensors: expected one tensor, or its name as in x.safetensors::NAME, got a, y"
    );
    assert_eq!(
        folder.said(&VectorSource::open(named("b")).unwrap_err()),
        "x.safetensors: expected a tensor named b, got a, y"
    );
    assert_eq!(
        folder.said(&read_integers(named("a")).unwrap_err()),
        "x.safetensors: expected integers, got elements of type f32"
    );
    bytes.truncate(bytes.len() - 1);
    let cut = folder.write("cut.safetensors", &bytes);
    assert!(read_integers(format!("{}::y", cut.display())).is_err());
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_told() {
    let folder = Folder::new();
    let path = folder.write("x.npy", &npy("<f4", false, "(1000, 4)", &[0; 16_000]));
    let ctx = Context::with_threads(1).unwrap();
    let x = FileVectors::load(&ctx, VectorSource::open(&path).unwrap(), 0).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(9000).unwrap();
    let error = x.read_rows(0, &mut vec![0.0; 4000]).unwrap_err();
    assert_eq!(
        folder.said(&error),
        "x.npy: expected 16128 bytes, as when it was opened, got a file that was cut off since"
    );
}

#[test]
fn loading_can_be_cancelled() {
    let folder = Folder::new();
    let path = folder.write("x.npy", &npy("<f4", true, "(100, 4)", &[0; 1600]));
    let token = CancelToken::default();
    token.cancel();
    let ctx = Context::with_threads(1).unwrap().cancel_token(token);
    for memory in [0, usize::MAX] {
        let loaded = FileVectors::load(&ctx, VectorSource::open(&path).unwrap(), memory);
        assert!(matches!(loaded, Err(Error::Cancelled)));
    }
}

#[test]
fn an_unnamed_member_is_asked_for() {
    let folder = Folder::new();
    let path = folder.0.path().join("x.npz");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, method) in
        [("a", zip::CompressionMethod::Stored), ("b", zip::CompressionMethod::Deflated)]
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(&npy("<f4", false, "(50, 3)", &le(&table(50, 3).concat()))).unwrap();
    }
    zip.finish().unwrap();
    for name in ["a", "b", "b.npy"] {
        assert!(rows(&PathBuf::from(format!("{}::{name}", path.display()))) == table(50, 3));
    }
    assert_eq!(
        folder.said(&VectorSource::open(&path).unwrap_err()),
        "x.npz: expected one array, or its name as in x.npz::NAME, got a, b"
    );
}
