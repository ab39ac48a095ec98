//! Prints the nearest neighbours of the first rows of a file of vectors.
//!
//! ```sh
//! cargo run --release --example neighbors -- X.npy 10
//! ```

use std::io::Write;

use twinlearn_knn::{Context, Error, FileVectors, KnnParams, Result, Vectors, knn_graph};

fn main() -> Result<()> {
    let usage = || Error::invalid("arguments", "a file of vectors, and k", "none");
    let mut args = std::env::args().skip(1);
    let x = FileVectors::open(args.next().ok_or_else(usage)?)?;
    let k = args.next().map_or(Ok(10), |k| k.parse());
    let k = k.map_err(|error| Error::invalid("k", "a whole number", error))?;

    let graph = knn_graph(&Context::new()?, &x, &KnnParams::new(k))?;
    let mut out = std::io::stdout().lock();
    for i in 0..x.n_rows().min(5) {
        let written = writeln!(out, "{i}: {:?}", graph.neighbors(i));
        written.map_err(|error| Error::io("standard output".as_ref(), "write", error))?;
    }
    Ok(())
}
