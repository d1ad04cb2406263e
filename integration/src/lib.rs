//! Namespace harness and end-to-end tests of lbd.
