//! Nearest neighbours: the metric, the search, the graph.

mod exact;
mod graph;
mod metric;
mod neighbor;

pub(crate) use exact::{check_n_neighbors, graph_of_checked, search_of_checked};
pub use exact::{knn_graph, knn_search};
pub use graph::KnnGraph;
pub use metric::Metric;
