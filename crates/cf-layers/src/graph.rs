//! A directed graph over the patches of a slide: who sends messages to whom.

use candle_core::{Error, Result};

/// Which of two patches sends where one lists the other among its nearest neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeDirection {
    /// A node sends to its neighbours, so it hears from those that chose it: as published.
    ToNeighbours,
    /// A node hears from its neighbours.
    FromNeighbours,
}

/// A directed graph with the edges of every node in both directions, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    incoming: Adjacency,
    outgoing: Adjacency,
}

/// Nodes by node, in one run of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Adjacency {
    starts: Vec<usize>,
    nodes: Vec<u32>,
}

impl Adjacency {
    fn of(&self, node: usize) -> &[u32] {
        &self.nodes[self.starts[node]..self.starts[node + 1]]
    }

    /// The lists of `neighbours`, each sorted.
    fn forward(neighbours: &[u32], k: usize, n: usize) -> Self {
        let mut nodes = neighbours.to_vec();
        if k > 0 {
            nodes.chunks_mut(k).for_each(<[u32]>::sort_unstable);
        }
        Self { starts: (0..=n).map(|node| node * k).collect(), nodes }
    }

    /// For each node those whose list it is in.
    fn reversed(neighbours: &[u32], k: usize, n: usize) -> Self {
        let mut starts = vec![0; n + 1];
        for &node in neighbours {
            starts[node as usize + 1] += 1;
        }
        for node in 0..n {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut nodes = vec![0; neighbours.len()];
        for (index, &node) in neighbours.iter().enumerate() {
            nodes[next[node as usize]] = (index / k) as u32;
            next[node as usize] += 1;
        }
        Self { starts, nodes }
    }
}

impl Graph {
    /// The graph of `neighbours`, row-major `[n, k]`: row `i` lists the neighbours of node `i`.
    ///
    /// # Errors
    /// If there are no `n * k` neighbours for one `k`, or one is not below `n`.
    pub fn new(neighbours: &[u32], n: usize, direction: EdgeDirection) -> Result<Self> {
        let k = neighbours.len().checked_div(n).unwrap_or(0);
        if n == 0 || n * k != neighbours.len() || u32::try_from(n).is_err() {
            return Err(Error::Msg(format!("a graph of {n} nodes with {} neighbours", neighbours.len())));
        }
        if let Some(outside) = neighbours.iter().find(|&&node| node as usize >= n) {
            return Err(Error::Msg(format!("a graph of {n} nodes has an edge to node {outside}")));
        }
        let (forward, reversed) =
            (Adjacency::forward(neighbours, k, n), Adjacency::reversed(neighbours, k, n));
        Ok(match direction {
            EdgeDirection::ToNeighbours => Self { incoming: reversed, outgoing: forward },
            EdgeDirection::FromNeighbours => Self { incoming: forward, outgoing: reversed },
        })
    }

    /// The same nodes and the edges that `keep` says, from source and target, asked in the order of sources.
    #[must_use]
    pub fn only(&self, mut keep: impl FnMut(u32, u32) -> bool) -> Self {
        let n = self.n_nodes();
        let mut outgoing = Adjacency { starts: vec![0], nodes: Vec::new() };
        let mut incoming = vec![Vec::new(); n];
        for source in 0..n {
            for &target in self.targets(source) {
                if keep(source as u32, target) {
                    outgoing.nodes.push(target);
                    incoming[target as usize].push(source as u32);
                }
            }
            outgoing.starts.push(outgoing.nodes.len());
        }
        let mut starts = vec![0];
        starts.extend(incoming.iter().scan(0, |end, sources| {
            *end += sources.len();
            Some(*end)
        }));
        Self { incoming: Adjacency { starts, nodes: incoming.concat() }, outgoing }
    }

    /// The number of nodes.
    pub fn n_nodes(&self) -> usize {
        self.incoming.starts.len() - 1
    }

    /// The number of edges.
    pub fn n_edges(&self) -> usize {
        self.incoming.nodes.len()
    }

    /// Where the list of each node begins in the second part, and at last where the last one ends; those that send to each node.
    pub fn incoming(&self) -> (&[usize], &[u32]) {
        (&self.incoming.starts, &self.incoming.nodes)
    }

    /// The same of those that each node sends to.
    pub fn outgoing(&self) -> (&[usize], &[u32]) {
        (&self.outgoing.starts, &self.outgoing.nodes)
    }

    /// Nodes that send to `target`, in rising order.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn sources(&self, target: usize) -> &[u32] {
        self.incoming.of(target)
    }

    /// Nodes that `source` sends to, in rising order.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn targets(&self, source: usize) -> &[u32] {
        self.outgoing.of(source)
    }

    /// The most messages that a node gets: sums over them grow with it.
    pub fn largest_in_degree(&self) -> usize {
        (0..self.n_nodes()).map(|node| self.sources(node).len()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_hears_from_those_that_chose_it_or_from_those_it_chose() {
        // Node 0 chose 1, node 1 chose 2, node 2 chose 1.
        let neighbours = [1, 2, 1];
        let published = Graph::new(&neighbours, 3, EdgeDirection::ToNeighbours).unwrap();
        assert_eq!([0, 1, 2].map(|node| published.sources(node)), [&[][..], &[0, 2], &[1]]);
        assert_eq!(published.targets(2), [1]);
        assert_eq!(published.largest_in_degree(), 2);
        let reversed = Graph::new(&neighbours, 3, EdgeDirection::FromNeighbours).unwrap();
        assert_eq!([0, 1, 2].map(|node| reversed.sources(node)), [[1], [2], [1]]);
        assert_eq!(reversed.targets(1), [0, 2]);
    }

    #[test]
    fn edges_left_out_are_missing_in_both_directions() {
        let graph = Graph::new(&[1, 2, 0, 2, 0, 1], 3, EdgeDirection::ToNeighbours).unwrap();
        let some = graph.only(|source, target| source != 0 || target != 2);
        assert_eq!([0, 1, 2].map(|node| some.targets(node)), [&[1][..], &[0, 2], &[0, 1]]);
        assert_eq!([0, 1, 2].map(|node| some.sources(node)), [&[1, 2][..], &[0, 2], &[1]]);
        assert_eq!(graph.only(|_, _| true), graph);
        assert_eq!(graph.only(|_, _| false).n_edges(), 0);
    }

    #[test]
    fn one_node_without_edges_is_a_graph_and_a_stray_edge_is_not() {
        let lonely = Graph::new(&[], 1, EdgeDirection::ToNeighbours).unwrap();
        assert_eq!((lonely.n_nodes(), lonely.n_edges()), (1, 0));
        assert!(Graph::new(&[2, 0], 2, EdgeDirection::ToNeighbours).is_err());
        assert!(Graph::new(&[1, 0, 1], 2, EdgeDirection::ToNeighbours).is_err());
        assert!(Graph::new(&[], 0, EdgeDirection::ToNeighbours).is_err());
    }
}
