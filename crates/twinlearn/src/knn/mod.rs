//! Nearest neighbours: the metric, the search, the graph.

mod exact;
mod frame;
mod graph;
mod metric;
mod neighbor;
mod search;

pub use graph::KnnGraph;
pub use metric::Metric;
pub(crate) use search::{check_n_neighbors, graph_of_checked, search_of_checked};
pub use search::{knn_graph, knn_search};
