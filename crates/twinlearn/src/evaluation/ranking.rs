//! Ranked answers against relevance judgements, by the definitions of trec_eval.

use std::collections::BTreeMap;
use std::path::Path;

use twinlearn_core::error::{Error, Result};
use twinlearn_vectors::read_integers;

/// nDCG looks at so many answers.
const NDCG_DEPTH: usize = 10;
/// Recall looks at so many.
const RECALL_DEPTH: usize = 100;
/// Average precision looks at so many: TREC's runs have no more.
pub(crate) const DEPTH: usize = 1000;

/// Relevance judgements: for each query, the rows that answer it and how well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qrels {
    by_query: BTreeMap<u32, BTreeMap<u32, i64>>,
}

/// The names of queries and rows in a file of judgements, in the order of the vectors. Without them
/// the file's names are row numbers, counted from 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct QrelsNames<'a> {
    /// One for each query.
    pub queries: Option<&'a [String]>,
    /// One for each row.
    pub rows: Option<&'a [String]>,
}

impl Qrels {
    /// From (query, row, relevance); a relevance of 0 or less judges a row not to be an answer.
    ///
    /// # Errors
    /// When a number is none of a query or a row, or a pair is judged twice and differently.
    pub fn new(
        n_queries: usize,
        n_rows: usize,
        judgements: impl IntoIterator<Item = (i64, i64, i64)>,
    ) -> Result<Self> {
        let within = |name, id: i64, n: usize| match u32::try_from(id) {
            Ok(id) if (id as usize) < n => Ok(id),
            _ => Err(Error::invalid("qrels", format_args!("{name} numbers below {n}"), id)),
        };
        let mut qrels = Self::default();
        for (query, row, relevance) in judgements {
            let (query, row) = (within("query", query, n_queries)?, within("row", row, n_rows)?);
            let judged = qrels.by_query.entry(query).or_default();
            if *judged.entry(row).or_insert(relevance) != relevance {
                return Err(Error::invalid(
                    "qrels",
                    format_args!("one judgement of query {query} and row {row}"),
                    "two that differ",
                ));
            }
        }
        Ok(qrels)
    }

    /// Reads `.npy` (rows of query, row and, where there is a third column, relevance) or text:
    /// TREC's (`query 0 row relevance`) or three columns (`query row relevance`, a header or not).
    ///
    /// # Errors
    /// When the file cannot be read, is neither, or names a query or a row that is none.
    pub fn read(
        path: impl AsRef<Path>,
        n_queries: usize,
        n_rows: usize,
        names: QrelsNames<'_>,
    ) -> Result<Self> {
        let path = path.as_ref();
        if path.extension().is_some_and(|e| e == "npy") {
            let (shape, values) = read_integers(path)?;
            let &[_, columns @ (2 | 3)] = &shape[..] else {
                let got = format!("shape {shape:?}");
                return Err(Error::file(path, "rows of query, row, relevance", got));
            };
            let rows = values.chunks_exact(columns);
            return Self::new(
                n_queries,
                n_rows,
                rows.map(|r| (r[0], r[1], *r.get(2).unwrap_or(&1))),
            );
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let judgements = Text { path, names }.parse(&text)?;
        Self::new(n_queries, n_rows, judgements)
    }

    /// The queries that have an answer, rising.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (u32, &BTreeMap<u32, i64>)> {
        let any = |judged: &BTreeMap<u32, i64>| judged.values().any(|&r| r > 0);
        self.by_query.iter().filter(move |(_, judged)| any(judged)).map(|(&q, judged)| (q, judged))
    }
}

/// A text file of judgements.
struct Text<'a> {
    path: &'a Path,
    names: QrelsNames<'a>,
}

impl Text<'_> {
    fn parse(&self, text: &str) -> Result<Vec<(i64, i64, i64)>> {
        let index = |names: Option<&[String]>| {
            names.map(|names| -> BTreeMap<String, i64> { names.iter().cloned().zip(0..).collect() })
        };
        let (queries, rows) = (index(self.names.queries), index(self.names.rows));
        let mut judgements = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (query, row, relevance) = match fields[..] {
                [] => continue,
                [query, row, relevance] => (query, row, relevance),
                [query, _, row, relevance] => (query, row, relevance),
                _ => return Err(self.wrong(number, "3 or 4 columns", line)),
            };
            let Ok(relevance) = relevance.parse() else {
                if number == 0 {
                    // A header.
                    continue;
                }
                return Err(self.wrong(number, "a whole number as relevance", relevance));
            };
            let find = |names: &Option<BTreeMap<String, i64>>, what, name: &str| {
                let id = match names {
                    Some(names) => names.get(name).copied(),
                    None => name.parse().ok(),
                };
                id.ok_or_else(|| self.wrong(number, what, name))
            };
            let query = find(&queries, "a query's number (or name, where names are given)", query)?;
            let row = find(&rows, "a row's number (or name, where names are given)", row)?;
            judgements.push((query, row, relevance));
        }
        Ok(judgements)
    }

    fn wrong(&self, number: usize, expected: &str, got: &str) -> Error {
        Error::file(self.path, format_args!("{expected} in line {}", number + 1), got)
    }
}

/// What each answered query's ranking is worth.
#[derive(Clone, Debug, Default)]
pub(crate) struct RankingScores {
    pub(crate) ndcg: Vec<f64>,
    pub(crate) average_precision: Vec<f64>,
    pub(crate) recall: Vec<f64>,
}

impl RankingScores {
    /// Adds a query's scores. `ranked` are the best rows, best first.
    ///
    /// nDCG@10 = Σ relᵢ / log₂(i + 1) over the first ten, by that of the best order; average
    /// precision is the mean, over all answers, of the precision where each is found (0 where it is
    /// not); recall@100 is the share of answers among the first hundred.
    pub(crate) fn add(&mut self, judged: &BTreeMap<u32, i64>, ranked: &[u32]) {
        let gain = |row: &u32| judged.get(row).copied().unwrap_or(0).max(0);
        let mut best: Vec<i64> = judged.values().copied().filter(|&r| r > 0).collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        let dcg = |gains: &mut dyn Iterator<Item = i64>| -> f64 {
            gains.zip(2..).map(|(gain, i)| gain as f64 / f64::from(i as u32).log2()).sum()
        };
        self.ndcg.push(
            dcg(&mut ranked.iter().take(NDCG_DEPTH).map(gain))
                / dcg(&mut best.iter().take(NDCG_DEPTH).copied()),
        );
        let (mut hits, mut precision, mut early) = (0, 0.0, 0);
        for (i, row) in ranked.iter().enumerate() {
            if gain(row) > 0 {
                hits += 1;
                precision += f64::from(hits) / (i + 1) as f64;
                early += u32::from(i < RECALL_DEPTH);
            }
        }
        self.average_precision.push(precision / best.len() as f64);
        self.recall.push(f64::from(early) / best.len() as f64);
    }
}
