//! Small symmetric positive definite systems.

/// Cholesky factor of a matrix, lower triangle.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    lower: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors `matrix`; the position of the first row that depends on those before it, if one does.
    pub(crate) fn new(matrix: &[Vec<f64>]) -> Result<Self, usize> {
        const GONE: f64 = 1e-12;
        let mut lower: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
        for (i, row) in matrix.iter().enumerate() {
            let mut new = vec![0.0; i + 1];
            for j in 0..i {
                let dot: f64 = (0..j).map(|k| new[k] * lower[j][k]).sum();
                new[j] = (row[j] - dot) / lower[j][j];
            }
            let pivot = row[i] - new[..i].iter().map(|x| x * x).sum::<f64>();
            if pivot.is_nan() || pivot <= GONE * row[i].abs() || pivot <= 0.0 {
                return Err(i);
            }
            new[i] = pivot.sqrt();
            lower.push(new);
        }
        Ok(Self { lower })
    }

    /// The solution of `matrix x = b`.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.lower.len();
        let mut x = b.to_vec();
        for i in 0..n {
            let dot: f64 = (0..i).map(|k| self.lower[i][k] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i][i];
        }
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|k| self.lower[k][i] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i][i];
        }
        x
    }

    /// The inverse of the matrix.
    pub(crate) fn inverse(&self) -> Vec<Vec<f64>> {
        let n = self.lower.len();
        let unit = |k: usize| (0..n).map(|i| f64::from(u8::from(i == k))).collect::<Vec<f64>>();
        (0..n).map(|k| self.solve(&unit(k))).collect()
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn times_vector(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_the_unit() {
        let matrix = [vec![4.0, 2.0, 0.5], vec![2.0, 5.0, 1.0], vec![0.5, 1.0, 3.0]];
        let inverse = Cholesky::new(&matrix).expect("definite").inverse();
        for (i, row) in matrix.iter().enumerate() {
            for (j, value) in times_vector(&inverse, row).into_iter().enumerate() {
                assert!((value - f64::from(u8::from(i == j))).abs() < 1e-15);
            }
        }
        assert_eq!(Cholesky::new(&[vec![1.0, 2.0], vec![2.0, 4.0]]).err(), Some(1));
    }
}
