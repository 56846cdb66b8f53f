//! Messages about arguments and replies that could not be encoded or decoded.

use sockets_proto::{Role, name::full_name};

use crate::{
    call_error::{self, CallError},
    codec::{DecodeError, EncodeError},
    method::{Callee, Method, Named},
};

/// A method, as messages describe it.
#[derive(Clone, Debug)]
pub(crate) enum Described {
    Declared(&'static Method),
    /// The full name of a method with unknown types.
    Named(String),
}

/// The values that could not be encoded or decoded.
#[derive(Clone, Copy)]
enum Subject {
    /// The argument at this position, or all arguments.
    Arguments(Option<usize>),
    Reply,
}

impl Described {
    pub(crate) fn new(callee: Callee<'_>) -> Self {
        match callee {
            Callee::Declared(method) => Self::Declared(method),
            Callee::Latest(latest) => Self::Declared(latest.method()),
            Callee::Named(Named { path, name, .. }) => Self::Named(full_name(path, name)),
        }
    }

    /// Returns the full name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Declared(method) => full_name(method.path, method.name),
            Self::Named(name) => name.clone(),
        }
    }

    /// Describes arguments that could not be encoded. `rust_type` is their type, and `failed` is
    /// the position of the first argument that failed.
    #[cold]
    pub(crate) fn cannot_encode_arguments(
        &self,
        side: Role,
        error: &EncodeError,
        failed: Option<usize>,
        rust_type: &str,
    ) -> CallError {
        let message = cannot_encode(&self.subject(Subject::Arguments(failed), rust_type), side, error);
        CallError::Encode(call_error::EncodeError::new(message))
    }

    /// Describes arguments that could not be decoded. `following` is the number of arguments after
    /// the invalid argument, or `None` if that number is not known.
    #[cold]
    pub(crate) fn cannot_decode_arguments(
        &self,
        side: Role,
        (error, following): &(DecodeError, Option<usize>),
        rust_type: &str,
    ) -> String {
        let failed = match self {
            Self::Declared(Method { arguments: [_], .. }) => Some(0),
            Self::Declared(method) => following.and_then(|after| method.arguments.len().checked_sub(after + 1)),
            Self::Named(_) => None,
        };
        cannot_decode(&self.subject(Subject::Arguments(failed), rust_type), side, error)
    }

    /// Describes a reply that could not be encoded.
    #[cold]
    pub(crate) fn cannot_encode_reply(&self, side: Role, error: &EncodeError, rust_type: &str) -> String {
        cannot_encode(&self.subject(Subject::Reply, rust_type), side, error)
    }

    /// Describes a reply that could not be decoded.
    #[cold]
    pub(crate) fn cannot_decode_reply(&self, side: Role, error: &DecodeError, rust_type: &str) -> CallError {
        let message = cannot_decode(&self.subject(Subject::Reply, rust_type), side, error);
        CallError::Decode(call_error::DecodeError::new(message))
    }

    fn subject(&self, subject: Subject, rust_type: &str) -> String {
        let name = self.name();
        let Self::Declared(method) = self else {
            return match subject {
                Subject::Arguments(_) => format!("the arguments ({rust_type}) of `{name}`"),
                Subject::Reply => format!("the reply ({rust_type}) of `{name}`"),
            };
        };
        let (types, reply) = split(method.types);
        match subject {
            Subject::Reply => format!("the reply ({reply}) of `{name}`"),
            Subject::Arguments(failed) => {
                let mut arguments = method.arguments.iter().zip(types);
                match failed.and_then(|failed| arguments.nth(failed)) {
                    Some((argument, ty)) => format!("argument `{argument}` ({ty}) of `{name}`"),
                    None => {
                        let (names, types) = (method.arguments.iter(), split(method.types).0);
                        let all = names.zip(types).map(|(argument, ty)| format!("`{argument}`: {ty}"));
                        format!("the arguments ({}) of `{name}`", all.collect::<Vec<_>>().join(", "))
                    }
                }
            }
        }
    }
}

/// Describes a value that could not be encoded.
pub(crate) fn cannot_encode(subject: &str, side: Role, error: &EncodeError) -> String {
    format!("cannot encode {subject} at the {side}: {error}")
}

/// Describes a value that could not be decoded.
pub(crate) fn cannot_decode(subject: &str, side: Role, error: &DecodeError) -> String {
    let remedy = match error {
        DecodeError::Custom(_) | DecodeError::NotSelfDescribing | DecodeError::TooDeep => "",
        _ => "; the peers may have been built with different versions of the type",
    };
    format!("cannot decode {subject} at the {side}: {error}{remedy}")
}

/// Splits a text such as `(String, u32) -> Option<u32>`. Returns the types of the arguments, and
/// the type of the reply.
fn split(types: &'static str) -> (Vec<&'static str>, &'static str) {
    let (mut depth, mut begin, mut arguments) = (0_usize, 0, Vec::new());
    for (at, letter) in types.char_indices() {
        match letter {
            '(' | '[' | '<' | '{' => {
                depth += 1;
                if depth == 1 {
                    begin = at + 1;
                }
            }
            ')' | ']' | '>' | '}' if depth == 1 => {
                arguments.extend(Some(types[begin..at].trim()).filter(|last| !last.is_empty()));
                return (arguments, types[at + 1..].trim_start_matches(" -> "));
            }
            ')' | ']' | '>' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => {
                arguments.push(types[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    (arguments, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_text_is_split_into_its_types() {
        assert_eq!(split("() -> ()"), (vec![], "()"));
        assert_eq!(split("emit (String)"), (vec!["String"], ""));
        let nested = split("(Map<String, u8>, (u32, [u8; 2]), Grid<{ N + 1 }>) -> Result<(u8, u8), Error>");
        assert_eq!(nested, (vec!["Map<String, u8>", "(u32, [u8; 2])", "Grid<{ N + 1 }>"], "Result<(u8, u8), Error>"));
    }
}
