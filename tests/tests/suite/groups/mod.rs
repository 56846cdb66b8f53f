//! Contracts and their generated code, and handlers that are registered by name.

mod borrowed_arguments;
mod calls_by_name;
mod expansion;
pub mod lints;
mod listeners;
mod member_names;
mod names;
mod registration;
mod serve_each;
mod targets;
mod traits_in_scope;
mod type_names;
mod types;
