//! Whole programs over each transport.

mod by_name;
mod typed;
