//! The snapshot that packets are decided by, and how it comes about.
