//! A group as the macro sees it. Building it never fails: what is wrong has its best interpretation here, from which
//! the skeleton is made, and is reported by [`check`](crate::check).

use std::time::Duration;

use proc_macro2::Span;
use quote::format_ident;
use syn::{
    Attribute, FnArg, Generics, Ident, ItemTrait, Meta, Pat, Path, ReturnType, TraitItem, TraitItemFn, Type,
    Visibility, ext::IdentExt,
};

use crate::{
    attr::{GroupArgs, Options},
    errors::Errors,
    key::key,
    travel::{self, CallParam, Pass, Reply},
};

/// The trait, and what becomes of it.
pub(crate) struct Group {
    /// The runtime: `::sockets`, or what `crate = ..` says.
    pub(crate) krate: Path,
    /// The path; empty for the root.
    pub(crate) path: String,
    /// The trait, without our attributes.
    pub(crate) item: ItemTrait,
    /// Its methods, in the order of the trait.
    pub(crate) methods: Vec<Method>,
    /// `PurchasesServer`
    pub(crate) server: Ident,
    /// `PurchasesClient`
    pub(crate) client: Ident,
}

/// A method of the group.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// The name on the wire.
    pub(crate) name: String,
    pub(crate) key: u64,
    /// Attributes that everything generated for the method has: `#[cfg]`.
    pub(crate) cfg: Vec<Attribute>,
    /// Attributes that the stub has besides: its documentation.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) kind: Kind,
    /// Whether the handler takes a `Call`.
    pub(crate) call: bool,
    /// What is on the wire.
    pub(crate) args: Vec<Arg>,
}

pub(crate) enum Kind {
    Request { timeout: Option<Duration>, reply: Reply },
    Emit,
}

/// An argument.
pub(crate) struct Arg {
    /// Its name; `arg0` for one whose pattern is refused.
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) pass: Pass,
}

impl Group {
    pub(crate) fn new(args: GroupArgs, mut item: ItemTrait, errors: &mut Errors) -> Self {
        let GroupArgs { path, krate } = args;
        let mut methods = Vec::new();
        for member in &mut item.items {
            if let TraitItem::Fn(member) = member {
                let options = Options::take(&mut member.attrs, errors);
                methods.push(Method::new(&path, member, options, &item.generics));
            }
        }
        let name = item.ident.unraw();
        Self {
            krate: krate.unwrap_or_else(|| syn::parse_quote!(::sockets)),
            path,
            server: format_ident!("{name}Server", span = item.ident.span()),
            client: format_ident!("{name}Client", span = item.ident.span()),
            item,
            methods,
        }
    }

    pub(crate) fn vis(&self) -> &Visibility {
        &self.item.vis
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.item.ident
    }
}

impl Method {
    fn new(path: &str, item: &TraitItemFn, options: Options, outer: &Generics) -> Self {
        let params: Vec<_> = generic_names(outer).chain(generic_names(&item.sig.generics)).collect();
        let typed = item.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        });
        let args =
            typed.clone().filter(|typed| travel::as_call(&typed.ty).is_none()).enumerate().map(|(i, typed)| Arg {
                ident: plain_name(&typed.pat)
                    .cloned()
                    .unwrap_or_else(|| format_ident!("arg{i}", span = Span::call_site())),
                ty: (*typed.ty).clone(),
                pass: travel::argument(&typed.ty, &params),
            });
        let name = item.sig.ident.unraw().to_string();
        Self {
            key: key(path, &name),
            name,
            ident: item.sig.ident.clone(),
            cfg: select(&item.attrs, &["cfg"]),
            docs: select(&item.attrs, &["doc", "deprecated", "cfg_attr"]),
            kind: Kind::new(options, &item.sig.output, &params),
            call: typed.clone().next().and_then(|first| travel::as_call(&first.ty)) == Some(CallParam::Shared),
            args: args.collect(),
        }
    }

    /// Whether the user has documented the method.
    pub(crate) fn documented(&self) -> bool {
        self.docs.iter().any(|attr| attr.path().is_ident("doc") && matches!(attr.meta, Meta::NameValue(_)))
    }
}

impl Kind {
    fn new(options: Options, output: &ReturnType, params: &[Ident]) -> Self {
        if options.emit {
            return Self::Emit;
        }
        Self::Request { timeout: options.timeout, reply: travel::reply(output, params) }
    }
}

/// The name of an argument that is nothing but a name.
pub(crate) fn plain_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => Some(&pat.ident),
        _ => None,
    }
}

fn generic_names(generics: &Generics) -> impl Iterator<Item = Ident> {
    let types = generics.type_params().map(|param| param.ident.clone());
    types.chain(generics.const_params().map(|param| param.ident.clone()))
}

fn select(attrs: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    attrs.iter().filter(|attr| names.iter().any(|name| attr.path().is_ident(name))).cloned().collect()
}
