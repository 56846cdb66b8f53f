//! The expansion of a group.

pub(crate) mod client;
pub(crate) mod contract;
pub(crate) mod server;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Ident, ItemTrait, Meta, TraitItem, Type, ext::IdentExt, spanned::Spanned};

use crate::{
    model::{Group, Kind, Method, contains_ident, generated, typed},
    options::{Execution, Overflow},
    signature,
};

/// Returns the trait, the server and the client of a group without errors.
pub(crate) fn expand(group: &Group) -> TokenStream {
    let contract = contract::expand(&group.item, contract::Form::Final);
    let types = types(group);
    let methods = methods(group);
    let server_basics = server::basics(group);
    let service = server::service(group);
    let client_basics = client::basics(group);
    let stubs = client::stubs(group, client::Body::Call);
    in_const(group, &quote! { #contract #types }, &quote! { #methods #server_basics #service #client_basics #stubs })
}

/// Puts implementations and their constants into a scope in which they cannot conflict with the
/// user's items.
///
/// The scope allows only the lints that the user allows in the trait, since the user may forbid any
/// other lint. Lints also do not report generated tokens, because these tokens have spans of the
/// expansion. The innermost constant uses both types. Without this use, a program that needs only a
/// server or only a client would contain dead code.
pub(crate) fn in_const(group: &Group, outside: &TokenStream, inside: &TokenStream) -> TokenStream {
    let Group { krate, server, client, .. } = group;
    let allowed = allowed(&group.item);
    quote! {
        #outside

        #(#[allow(#allowed)])*
        const _: () = {
            use #krate::__private::{self as __sockets, Owned as _, Unencodable as _, Unsendable as _};
            #inside
            const _: fn(&#server<()>, &#client<()>) = |_, _| {};
        };
    }
}

/// Returns the definitions of the server type and of the stub, such as `PurchasesServer<H>` and
/// `PurchasesClient<T>`.
pub(crate) fn types(group: &Group) -> TokenStream {
    let Group { krate, server, client, .. } = group;
    let vis = group.vis();
    let name = group.ident().to_string();
    let server_doc = format!(" Serves [`{name}`] with a handler of type `H`.");
    let client_doc = format!(" A stub that calls [`{name}`] on a peer or an audience: see [`new`](Self::new).");
    let attrs: Vec<_> = inherited(&group.item.attrs).collect();
    quote! {
        #[doc = #server_doc]
        #(#attrs)*
        #vis struct #server<H> {
            handler: ::std::sync::Arc<H>,
        }

        #[doc = #client_doc]
        #(#attrs)*
        #[derive(::core::clone::Clone)]
        #vis struct #client<T = #krate::Peer> {
            stub: #krate::__private::Stub<T>,
        }
    }
}

/// Returns the lints that the user allows or expects in the trait. The generated code must allow
/// these lints, too, because it contains the types and names of the trait.
fn allowed(item: &ItemTrait) -> Vec<TokenStream> {
    let methods = item.items.iter().filter_map(|member| match member {
        TraitItem::Fn(method) => Some(method),
        _ => None,
    });
    let params = methods.clone().flat_map(|method| typed(&method.sig)).flat_map(|param| &param.attrs);
    let attrs = item.attrs.iter().chain(methods.flat_map(|method| &method.attrs)).chain(params);
    let lints = attrs.filter_map(|attr| match &attr.meta {
        Meta::List(list) if attr.path().is_ident("allow") || attr.path().is_ident("expect") => {
            Some(list.tokens.clone())
        }
        _ => None,
    });
    lints.collect()
}

/// Returns the attributes of the trait that also apply to the generated types.
fn inherited(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| {
        let hidden = attr.path().is_ident("doc") && matches!(attr.meta, Meta::List(_));
        hidden || attr.path().is_ident("allow")
    })
}

/// Returns code that describes the methods: a constant for each method, and a list of the methods
/// that `#[cfg]` includes.
fn methods(group: &Group) -> TokenStream {
    let Group { krate, path, methods, .. } = group;
    let consts = (0..methods.len()).map(constant);
    let listed = consts.clone();
    let cfgs: Vec<_> = methods.iter().map(|method| &method.cfg).collect();
    let data = methods.iter().map(|Method { name, key, kind, execution, types, args, .. }| {
        let arguments = args.iter().map(|arg| arg.ident.unraw().to_string());
        let (key, signature) = (literal(*key), literal(signature::hash(types)));
        let (kind, timeout, overflow, latest) = match kind {
            Kind::Emit { overflow, latest } => (quote!(Emit), None, *overflow, latest.as_ref()),
            Kind::Request { timeout, .. } => (quote!(Request), *timeout, Overflow::default(), None),
        };
        let latest = if let Some(key) = latest {
            let key = (0..args.len()).filter(|at| key.contains(&args[*at].ident));
            quote!(::core::option::Option::Some(&[#(#key),*]))
        } else {
            quote!(::core::option::Option::None)
        };
        let (idempotent, detached) = (*execution == Execution::Idempotent, *execution == Execution::Detached);
        let overflow = format_ident!("{}", overflow.0);
        let timeout = if let Some(timeout) = timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#millis)))
        } else {
            quote!(::core::option::Option::None)
        };
        quote! {
            path: #path,
            name: #name,
            key: #key,
            kind: #krate::__private::Kind::#kind,
            timeout: #timeout,
            idempotent: #idempotent,
            detached: #detached,
            overflow: #krate::__private::Overflow::#overflow,
            latest: #latest,
            arguments: &[#(#arguments),*],
            types: #types,
            signature: #signature
        }
    });
    quote! {
        #(
            #(#cfgs)*
            const #consts: &#krate::__private::Method = &#krate::__private::Method { #data };
        )*
        const __METHODS: &[#krate::__private::Method] = &[#(#(#cfgs)* *#listed),*];
    }
}

/// Returns the name of a method's constant. It is not derived from the method's name, because the
/// constants of the methods `a` and `A` would then have the same name.
pub(crate) fn constant(index: usize) -> Ident {
    format_ident!("__METHOD_{index}")
}

/// Returns a key or signature as a number of sixteen digits.
pub(crate) fn literal(key: u64) -> TokenStream {
    // The parser accepts every literal of this form.
    format!("0x{key:016x}_u64").parse().unwrap_or_else(|_| key.to_token_stream())
}

/// Returns a name for a type parameter. The name does not occur in the user's code.
pub(crate) fn fresh(group: &Group, preferred: &str) -> Ident {
    let taken = |name: &str| contains_ident(group.item.to_token_stream(), name);
    let mut name = preferred.to_owned();
    while taken(&name) {
        name.insert(0, '_');
    }
    format_ident!("{name}")
}

/// Returns code that names the type that the library decodes for `ty`, which is the type of an
/// argument or of a reply. If the library cannot decode the type, rustc reports the error at the
/// user's tokens.
pub(crate) fn type_check(ty: &Type, form: &str) -> TokenStream {
    let at = generated(ty.span());
    let form = Ident::new(form, at);
    quote_spanned!(at=> __sockets::Probe::<#ty>::NEW.#form::<#ty>())
}
