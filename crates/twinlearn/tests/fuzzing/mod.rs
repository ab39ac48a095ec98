// What fuzz targets do with their bytes, and tests with the committed corpus.

use std::cell::RefCell;

use twinlearn::{
    Bits, Codec, Context, DenseVectors, FileVectors, Model, NetworkSpec, VectorSource, Vectors,
    read_integers, search_codes,
};

/// Rows whose numbers are looked at: a few bytes can stand for thousands of millions.
const MOST: usize = 1 << 22;

/// Extensions of files whose rows follow little or nothing.
pub const VECS_BIN: [&str; 8] =
    ["fvecs", "bvecs", "ivecs", "fbin", "f16bin", "u8bin", "i8bin", "ibin"];

thread_local! {
    // Kept: the threads of a context end a moment after it, which the leak check takes for a leak.
    static CONTEXT: Context = Context::with_threads(1).unwrap();
    static PLACE: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// Reads the bytes as a file of each of these extensions, in every way there is.
pub fn vectors(extensions: &[&str], bytes: &[u8]) {
    PLACE.with_borrow_mut(|place| {
        let folder = place.get_or_insert_with(|| {
            let memory = std::path::Path::new("/dev/shm");
            let folder = match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            };
            folder.unwrap()
        });
        for extension in extensions {
            let path = folder.path().join("x").with_extension(extension);
            std::fs::write(&path, bytes).unwrap();
            CONTEXT.with(|ctx| read(ctx, &path));
        }
    });
}

fn read(ctx: &Context, path: &std::path::Path) {
    let Ok(source) = VectorSource::open(path) else {
        // A column or tensor by a name it may have.
        let _ = VectorSource::open(format!("{}::x", path.display()));
        return;
    };
    let (n, dim) = (source.n_rows(), source.dim());
    if source.held_bytes() > MOST || dim.saturating_mul(4) > MOST {
        return;
    }
    let ids: Vec<u32> = (0..n as u32).step_by(3).collect();
    let _ = FileVectors::load_rows(ctx, &source, &ids, MOST);
    for memory in [MOST, 0] {
        let Ok(source) = VectorSource::open(path) else { return };
        let Ok(x) = FileVectors::load(ctx, source, memory) else { continue };
        let mut all = vec![0.0; n * dim];
        let _ = x.read_rows(0, &mut all);
        let _ = x.gather(&ids, &mut all[..ids.len() * dim]);
    }
    let _ = read_integers(path);
}

/// Reads the bytes as a model and applies what comes out.
pub fn model(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes) else { return };
    let written = model.to_bytes().unwrap();
    assert_eq!(Model::from_bytes(&written).unwrap().to_bytes().unwrap(), written);
    if model.n_features() < 1 << 16 {
        let zeros = vec![0.0; 2 * model.n_features()];
        let x = twinlearn::Matrix::new(2, model.n_features(), zeros).unwrap();
        CONTEXT.with(|ctx| {
            let _ = model.transform(ctx, &x, true);
            for bits in Bits::ALL.into_iter().map(Some).chain([None]) {
                if let Ok(codec) = model.codec(bits) {
                    codes(ctx, &codec, bytes);
                }
            }
        });
    }
}

/// Encodes rows, and decodes and searches whatever the bytes are.
fn codes(ctx: &Context, codec: &Codec, bytes: &[u8]) {
    let dim = codec.dim();
    let rows: Vec<f32> = (0..2 * dim).map(|i| (i as f32).sin()).collect();
    let rows = twinlearn::Matrix::new(2, dim, rows).unwrap();
    let codes = codec.encode(ctx, &rows).unwrap();
    assert_eq!(codes.len(), 2 * codec.row_bytes());
    let any: Vec<u8> = bytes.iter().copied().cycle().take(40 * codec.row_bytes()).collect();
    let _ = codec.decode(&any);
    let any = DenseVectors::new(&any, codec.row_bytes()).unwrap();
    let _ = search_codes(ctx, codec, &any, &rows, 3);
}

/// Reads the bytes as the name of an architecture, which must come back from what it says.
pub fn spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(spec) = text.parse::<NetworkSpec>() {
        assert_eq!(spec.to_string().parse::<NetworkSpec>().unwrap(), spec);
    }
}
