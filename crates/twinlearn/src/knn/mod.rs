//! Nearest neighbours: the metric, the search, the graph.

mod descent;
mod exact;
mod frame;
mod graph;
mod metric;
mod neighbor;
mod pq;
mod search;

pub(crate) use exact::check_search_memory;
pub use graph::KnnGraph;
pub use metric::Metric;
pub use search::{KnnApproximation, KnnMethod, KnnParams, knn_graph, knn_search};
pub(crate) use search::{
    check_method, check_n_neighbors, graph_of_checked, origin_of, search_of_checked,
};
