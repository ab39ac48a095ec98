//! Search of codes by the queries of a model.

use serde::{Deserialize, Serialize};
use twinlearn_codes::{Bits, CodeSpec, Codec, rescore, search_codes};
use twinlearn_core::context::Context;
use twinlearn_core::cost::beside;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::Metric;
use twinlearn_vectors::{VectorSource, Vectors, check_vectors};

use super::Model;

/// The entry of a table's metadata that tells what its codes are.
pub(super) const NOTE: &str = "twinlearn";

/// Candidates that are put in order, where no number of them is given.
const CANDIDATES: usize = 100;

/// What a table tells of its codes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CodesNote {
    codes: CodeSpec,
    n_components: usize,
    /// [`Model::checksum`].
    model: String,
}

impl CodesNote {
    pub(super) fn new(model: &Model, codec: &Codec) -> Self {
        let (codes, n_components) = (codec.spec(), model.n_components());
        Self { codes, n_components, model: model.checksum() }
    }

    /// That of a table, if it has one.
    fn of(codes: &VectorSource) -> Result<Option<Self>> {
        let note = codes.metadata(NOTE)?;
        Ok(note.and_then(|note| serde_json::from_str(note).ok()))
    }
}

/// How codes are searched.
///
/// ```
/// use twinlearn::{Bits, CodeSearch, Context, DenseVectors, Matrix, Params, Trainer};
/// let data = (0..300 * 8).map(|i| ((i * 7919) % 101) as f32 * 0.01).collect();
/// let (ctx, x) = (Context::new()?, Matrix::new(300, 8, data)?);
/// let model = Trainer::new(Params::builder().n_components(4).build()?).fit(&ctx, &x)?.model;
/// let codec = model.codec(Some(Bits::new(4)?))?;
/// let codes = codec.encode(&ctx, &model.transform(&ctx, &x, false)?)?;
/// let codes = DenseVectors::new(&codes, codec.row_bytes())?;
///
/// let search = CodeSearch::new(&codec, 10).rescore(&x).candidates(50);
/// let found = model.search(&ctx, &codes, &x, &search)?; // 10 row numbers for each query
/// assert_eq!(found.len(), 300 * 10);
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct CodeSearch<'a> {
    codec: &'a Codec,
    n_neighbors: usize,
    rescore: Option<&'a dyn Vectors>,
    candidates: Option<usize>,
}

impl std::fmt::Debug for CodeSearch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { codec, n_neighbors, rescore, candidates } = self;
        f.debug_struct("CodeSearch")
            .field("codec", &codec.spec())
            .field("n_neighbors", n_neighbors)
            .field("rescore", &rescore.map(Vectors::n_rows))
            .field("candidates", candidates)
            .finish()
    }
}

impl<'a> CodeSearch<'a> {
    /// For the `n_neighbors` nearest codes of each query.
    #[must_use]
    pub fn new(codec: &'a Codec, n_neighbors: usize) -> Self {
        Self { codec, n_neighbors, rescore: None, candidates: None }
    }

    /// The original rows, by which candidates are put in order; default none.
    #[must_use]
    pub fn rescore(mut self, rows: &'a dyn Vectors) -> Self {
        self.rescore = Some(rows);
        self
    }

    /// How many candidates of each query are put in order by the original rows; default 100, or the
    /// neighbours that are asked for where these are more, or all rows where these are fewer.
    #[must_use]
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.candidates = Some(candidates);
        self
    }

    /// How many codes of each query are found, of `n`.
    fn n_found(&self, n: usize) -> Result<usize> {
        let k = self.n_neighbors;
        if k == 0 || k > n {
            let expected = format!("a number from 1 to {n}, the codes that there are");
            return Err(Error::invalid("n_neighbors", expected, k));
        }
        match (self.rescore, self.candidates) {
            (None, None) => Ok(k),
            (None, Some(count)) => {
                let expected = "none without the original rows (rescore)";
                Err(Error::invalid("candidates", expected, count))
            }
            (Some(_), None) => Ok(CANDIDATES.max(k).min(n)),
            (Some(_), Some(count)) if (k..=n).contains(&count) => Ok(count),
            (Some(_), Some(count)) => {
                let expected = format!("a number from {k}, the neighbours, to {n}, the codes");
                Err(Error::invalid("candidates", expected, count))
            }
        }
    }
}

impl Model {
    /// The rows whose codes, N × [`Codec::row_bytes`] bytes, are nearest to each query, M × D and not
    /// reduced: row after row, best first, ties by the smaller number. No code is left out.
    ///
    /// # Errors
    /// When sizes do not fit; a query, or a row by which candidates are put in order, is not finite, or
    /// all zeros under cosine; a number is no byte; there are fewer codes than neighbours or candidates;
    /// the context's memory is too little; or the work is cancelled.
    pub fn search(
        &self,
        ctx: &Context,
        codes: &dyn Vectors,
        queries: &dyn Vectors,
        search: &CodeSearch<'_>,
    ) -> Result<Vec<u32>> {
        let CodeSearch { codec, n_neighbors: k, rescore: rows, .. } = *search;
        let (n, dim, metric) = (codes.n_rows(), self.n_features(), codec.metric());
        for (name, given) in [("queries", Some(queries)), ("rescore", rows)] {
            if let Some(got) = given.map(Vectors::dim).filter(|&got| got != dim) {
                let expected = format!("vectors of dimension {dim}, which the model was fitted to");
                return Err(Error::invalid(name, expected, got));
            }
        }
        if let Some(got) = rows.map(Vectors::n_rows).filter(|&got| got != n) {
            let expected = format!("{n} rows, one for each code");
            return Err(Error::invalid("rescore", expected, got));
        }
        let count = search.n_found(n)?;
        // Queries reduced and turned, candidates with their distances, and row numbers of 8 bytes.
        let per_query = 8 * self.n_components() + 24 * count + 16 * k;
        let ctx = &beside(ctx, queries.n_rows().saturating_mul(per_query), "this search")?;
        check_vectors(ctx, "queries", queries, metric == Metric::Cosine)?;
        let reduced = self.transform(ctx, queries, false)?;
        let found = search_codes(ctx, codec, codes, &reduced, count)?;
        match rows {
            Some(rows) => rescore(ctx, &found, queries, rows, k, metric),
            None => Ok(found),
        }
    }

    /// The model and the codec of codes in a file: of `n_components` numbers, and of so many bits or, with
    /// `own`, of the product code of the model. What is not given a table tells itself, if
    /// [`transform_file`](Self::transform_file) wrote it; else it is all numbers, and the only code that
    /// has so many bytes.
    ///
    /// # Errors
    /// When a table tells that its codes are of another model, or others than are given; when numbers are
    /// no bytes, or as many as none or several of the model's codes have.
    pub fn codec_of_file(
        &self,
        codes: &VectorSource,
        n_components: Option<usize>,
        (bits, own): (Option<Bits>, bool),
    ) -> Result<(Self, Codec)> {
        let path = codes.name();
        if codes.dtype() != "u8" {
            return Err(Error::file(path, "codes, which are bytes (u8)", codes.dtype()));
        }
        let note = CodesNote::of(codes)?;
        let size = n_components.or(note.as_ref().map(|note| note.n_components));
        let model = match (size, &note) {
            (Some(size), Some(_)) if size > self.n_components() => {
                return Err(another_model(path));
            }
            (Some(size), _) => self.prefix(size)?,
            (None, _) => self.clone(),
        };
        let codec = match (&note, bits.is_some() || own) {
            (_, true) => model.codec(bits)?,
            (Some(CodesNote { codes: CodeSpec::Scalar(bits), .. }), _) => {
                model.codec(Some(*bits))?
            }
            (Some(_), _) => model.codec(None)?,
            (None, false) => model.codec_of(codes.dim())?,
        };
        if let Some(note) = note {
            let (size, spec) = (model.n_components(), codec.spec());
            if (note.n_components, note.codes) != (size, spec) {
                let told = |size: usize, spec: CodeSpec| format!("{spec} of {size} numbers");
                let wanted = told(size, spec);
                return Err(Error::file(path, wanted, told(note.n_components, note.codes)));
            }
            if note.model != model.checksum() {
                return Err(another_model(path));
            }
        }
        if codec.row_bytes() != codes.dim() {
            let expected =
                format!("{} bytes a row, as code {} has", codec.row_bytes(), codec.spec());
            return Err(Error::file(path, expected, codes.dim()));
        }
        Ok((model, codec))
    }

    /// The CRC-32, in hexadecimal, of all that codes of this model depend on.
    #[must_use]
    pub fn checksum(&self) -> String {
        let mut checksum = crc32fast::Hasher::new();
        for (name, _, values) in self.arrays() {
            if !name.starts_with("projector.") {
                checksum.update(bytemuck::cast_slice(values));
            }
        }
        for number in self.origin.iter().flatten() {
            checksum.update(&number.to_le_bytes());
        }
        format!("{:08x}", checksum.finalize())
    }
}

fn another_model(path: &std::path::Path) -> Error {
    Error::file(path, "codes of this model", "those of another, by the checksum in its metadata")
}
