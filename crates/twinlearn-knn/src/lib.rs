//! Nearest neighbours of vectors: [`knn_graph`] of rows among each other, [`knn_search`] of queries
//! among base rows.
//!
//! `search` is the public face; `frame` holds the coordinates in which pairs are compared, with the
//! proof of their bounds; `exact/`, `descent/` and `pq` are the methods, `kernels/` their innermost
//! loops; `graph` is the result and `recall` measures it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod descent;
mod exact;
mod frame;
mod graph;
mod kernels;
pub mod kmeans;
mod metric;
mod neighbor;
mod pq;
mod recall;
mod search;

pub use exact::least_search_bytes;
pub use graph::KnnGraph;
pub use metric::Metric;
pub use recall::{recall_at_k, recall_scores};
pub use search::{
    KnnApproximation, KnnMethod, KnnParams, check_method, check_n_neighbors, graph_of_checked,
    knn_graph, knn_search, near_search_of_checked, origin_of, others_of_checked, search_of_checked,
    without_own,
};
pub use twinlearn_core::linalg::Matrix;
pub use twinlearn_core::{CancelToken, Context, Error, Result};
pub use twinlearn_vectors::{DenseVectors, FileVectors, Vectors};
