//! What the matrix has found: each bug by name.
