//! Square symmetric systems, as small as a grid has cells.

/// A lower triangle L with L·Lᵀ = the matrix; row by row, each row one longer than the last.
#[derive(Debug)]
pub(super) struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Of the `size` × `size` matrix whose lower triangle `entry(row, column)` gives. `None`
    /// where it is not positive definite.
    pub(super) fn of(size: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
        for i in 0..size {
            let mut row: Vec<f64> = Vec::with_capacity(i + 1);
            for (j, other) in rows.iter().enumerate() {
                let known = dot(&row, other);
                row.push((entry(i, j) - known) / other.last()?);
            }
            let rest = entry(i, i) - dot(&row, &row);
            if rest <= 0.0 || !rest.is_finite() {
                return None;
            }
            row.push(rest.sqrt());
            rows.push(row);
        }
        Some(Self { rows })
    }

    /// L⁻¹·`vector`.
    pub(super) fn whiten(&self, vector: &[f64]) -> Vec<f64> {
        let mut white: Vec<f64> = Vec::with_capacity(vector.len());
        for (row, value) in self.rows.iter().zip(vector) {
            let known = dot(&white, row);
            white.push((value - known) / row.last().copied().unwrap_or(1.0));
        }
        white
    }

    /// The logarithm of the matrix's determinant.
    pub(super) fn log_determinant(&self) -> f64 {
        2.0 * self.rows.iter().filter_map(|row| row.last()).map(|diagonal| diagonal.ln()).sum::<f64>()
    }
}

/// Of as many numbers as the shorter has.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_its_triangle_times_itself() {
        let matrix = [[4.0, 2.0, 0.6], [2.0, 5.0, 1.0], [0.6, 1.0, 3.0]];
        let cholesky = Cholesky::of(3, |i, j| matrix[i][j]).expect("positive definite");
        assert_eq!(cholesky.rows[1], [1.0, 2.0]);
        // xᵀ A⁻¹ x for x = A·1 is the sum of A.
        let white = cholesky.whiten(&[6.6, 8.0, 4.6]);
        assert!((dot(&white, &white) - 19.2).abs() < 1e-9);
        assert!((cholesky.log_determinant() - 43.4_f64.ln()).abs() < 0.05, "{}", cholesky.log_determinant().exp());
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert!(Cholesky::of(2, |_, _| 1.0).is_none());
        assert!(Cholesky::of(1, |_, _| f64::NAN).is_none());
    }
}
