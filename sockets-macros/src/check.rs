//! The rules for groups. Each rule has its own error message, which points to the tokens of the
//! user.

use std::collections::HashMap;

use quote::quote;
use syn::{Attribute, FnArg, Ident, ItemTrait, Path, Receiver, ReceiverKind, ReturnType, Safety, Signature, TraitItem};

use crate::{
    errors::Errors,
    model::{Group, Kind, Method, plain_name, typed},
    name,
    types::{self, ArgumentPassing, CallParam, Reply},
};

/// The functions that the stub has in addition to the methods of the trait.
pub(crate) const RESERVED: &[&str] = &["new", "with_timeout"];
/// Maximum number of arguments of a method. The arguments are encoded as a tuple, and serde
/// implements its traits for tuples of at most 16 elements.
const ARGS_MAX: usize = 16;

/// Reports all errors of a group.
pub(crate) fn check(group: &Group, errors: &mut Errors) {
    check_trait(&group.item, errors);
    let mut methods = group.methods.iter();
    let mut earlier = SeenNames::default();
    for member in &group.item.items {
        match member {
            TraitItem::Fn(member) => {
                // The model contains a method for each method of the trait.
                let Some(method) = methods.next() else { return };
                check_signature(&member.sig, errors);
                check_params(&member.sig, method, &group.krate, errors);
                check_kind(&member.sig, method, errors);
                earlier.check_name(method, errors);
            }
            TraitItem::Const(member) => errors.on(&member.ident, ONLY_METHODS),
            TraitItem::Type(member) => errors.on(&member.ident, ONLY_METHODS),
            TraitItem::Macro(member) => errors.on(&member.mac.path, ONLY_METHODS),
            other => errors.on(other, ONLY_METHODS),
        }
    }
}

const ONLY_METHODS: &str = "a group can contain only methods; move this out of the trait";

fn check_trait(item: &ItemTrait, errors: &mut Errors) {
    for attr in item.attrs.iter().filter(|attr| is_group(attr)) {
        errors.on(attr, "the trait is a group already; remove the second `#[sockets::group]`");
    }
    if let Some(unsafety) = &item.unsafety {
        errors.at(unsafety.span, "a group is safe to serve; remove `unsafe`");
    }
    if !item.generics.params.is_empty() {
        errors.on(
            &item.generics,
            "a group cannot be generic, since both peers need the same types; write concrete types",
        );
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.on(clause, "a group has no `where` clause; remove it");
    }
}

/// Returns `true` if the attribute is a second `#[sockets::group]` on a trait.
pub(crate) fn is_group(attr: &Attribute) -> bool {
    let mut segments = attr.path().segments.iter().rev();
    let group = segments.next().is_some_and(|last| last.ident == "group");
    group && segments.next().is_none_or(|before| before.ident == "sockets")
}

fn check_signature(sig: &Signature, errors: &mut Errors) {
    if sig.asyncness.is_none() {
        errors.at(sig.fn_token.span, "missing `async`, since each call is sent over the connection; write `async fn`");
    }
    if let Some(token) = &sig.constness {
        errors.at(token.span, "a call to a peer is not a constant; remove `const`");
    }
    if let Safety::Unsafe(token) = &sig.safety {
        errors.at(token.span, "a call to a peer is safe; remove `unsafe`");
    }
    if let Some(abi) = &sig.abi {
        errors.on(abi, "a method of a group has no ABI; remove it");
    }
    if !sig.generics.params.is_empty() {
        errors.on(&sig.generics, "a method of a group cannot be generic; write concrete types without lifetimes");
    }
    if let Some(clause) = &sig.generics.where_clause {
        errors.on(clause, "a method of a group has no `where` clause; remove it");
    }
    match sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => check_receiver(receiver, errors),
        _ => errors.on(&sig.ident, format!("missing `&self`; write `fn {}(&self, ..)`", sig.ident)),
    }
}

fn check_receiver(receiver: &Receiver, errors: &mut Errors) {
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => {}
        ReceiverKind::Reference(_, Some(lifetime), _) => {
            errors.on(lifetime, "a method of a group has no named lifetimes; take `&self`");
        }
        ReceiverKind::Reference(..) => errors.on(receiver, "a handler serves calls concurrently; take `&self`"),
        _ => errors.on(receiver, "a handler cannot be moved, since it serves further calls; take `&self`"),
    }
}

fn check_params(sig: &Signature, method: &Method, krate: &Path, errors: &mut Errors) {
    let mut args = method.args.iter();
    for (i, param) in typed(sig).enumerate() {
        match types::as_call(&param.ty, krate) {
            Some(CallParam::Generic) => errors.on(
                &param.ty,
                "`Call` has no type arguments; write `call: &sockets::Call`, and ask for `call.socket::<I>()`",
            ),
            Some(CallParam::Shared) if i == 0 => {}
            Some(CallParam::Other) if i == 0 => {
                errors.on(&param.ty, "a handler borrows the call; write `call: &sockets::Call`");
            }
            Some(_) => errors.on(
                &param.ty,
                "a `Call` must be the first argument; write `call: &sockets::Call` directly after `&self`",
            ),
            None => {
                if plain_name(&param.pat).is_none() {
                    errors.on(
                        &param.pat,
                        "an argument cannot be a pattern, since the stub has it too; write `name: Type`",
                    );
                }
                if let Some(ArgumentPassing::Refused(refusal)) = args.next().map(|arg| &arg.pass) {
                    errors.push(refusal.error.clone());
                }
            }
        }
    }
    if let Some(arg) = method.args.get(ARGS_MAX) {
        errors.on(&arg.ty, format!("a method takes at most {ARGS_MAX} arguments; put some of them into a struct"));
    }
    if let Some(variadic) = &sig.variadic {
        errors.on(variadic, "a method of a group has a fixed number of arguments; take a `Vec`");
    }
}

fn check_kind(sig: &Signature, method: &Method, errors: &mut Errors) {
    if let Kind::Emit { latest: Some(key), .. } = &method.kind {
        check_key(key, method, errors);
    }
    match (&method.kind, &sig.output) {
        (_, ReturnType::Type(arrow, ty)) if method.emit => {
            errors.on(quote!(#arrow #ty), "an emit has no reply; remove the return type, or remove `#[emit]`");
        }
        (Kind::Request { reply: Reply::Refused(refusal), .. }, _) => errors.push(refusal.error.clone()),
        _ => {}
    }
}

/// Checks the names of the arguments in a key.
fn check_key(key: &[Ident], method: &Method, errors: &mut Errors) {
    for (i, name) in key.iter().enumerate() {
        if key[..i].contains(name) {
            errors.on(name, format!("`{name}` is in the key twice; remove one"));
        } else if !method.args.iter().any(|arg| arg.ident == *name) {
            let names: Vec<_> = method.args.iter().map(|arg| format!("`{}`", arg.ident)).collect();
            let names =
                if names.is_empty() { "it has none".to_owned() } else { format!("expected {}", names.join(", ")) };
            errors.on(name, format!("the method has no argument `{name}`; {names}"));
        }
    }
}

/// The methods that precede the current method.
#[derive(Default)]
struct SeenNames<'a> {
    names: HashMap<&'a str, &'a Method>,
    keys: HashMap<u64, &'a Method>,
}

impl<'a> SeenNames<'a> {
    fn check_name(&mut self, method: &'a Method, errors: &mut Errors) {
        let name = &method.name;
        if RESERVED.contains(&name.as_str()) {
            errors.on(&method.ident, format!("the stub has a function `{name}` itself; rename the method"));
        }
        if let Err(message) = name::check_segment(name) {
            errors.on(&method.ident, message);
        }
        // If two methods have the same name, a `#[cfg]` may exclude one of the methods. So the
        // macro reports no error if either method has a `#[cfg]`. If both methods remain, rustc
        // reports the error.
        let clash = |earlier: &&Method| earlier.cfg.is_empty() && method.cfg.is_empty();
        if let Some(_earlier) = self.names.insert(name, method).filter(clash) {
            errors.on(&method.ident, format!("a second method `{name}`; names identify methods, so rename it"));
        } else if let Some(earlier) = self.keys.insert(method.key, method).filter(|earlier| earlier.name != *name) {
            errors.on(&method.ident, format!("`{name}` has the same key as `{}`; rename one of them", earlier.name));
        }
    }
}
