//! `#[derive(sockets::Identity)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Fields, Member, Meta, Path, Token, Type, parse_quote_spanned, punctuated::Punctuated,
    spanned::Spanned,
};

use crate::{errors::Errors, model::generated};

const MARK_A_FIELD: &str = "an identity has a key: write `#[identity(key)]` on the field that identifies the user, \
                            or on several fields, whose tuple is then the key";

/// Expands the derive macro. Tests can call this function, unlike a procedural macro.
pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let name = &input.ident;
    let krate = crate_path(&input.attrs, &mut errors);
    let krate = krate.unwrap_or_else(|| parse_quote_spanned!(name.span()=> ::sockets));
    let keys = key_fields(&input, &mut errors);
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    // After an error, the key is `()`, so that rustc reports no missing implementation.
    let (ty, key) = match &keys[..] {
        [] => (quote!(()), quote!()),
        [(field, ty)] => (quote!(#ty), clone_of(field, ty)),
        several => {
            let (types, keys) =
                (several.iter().map(|(_, ty)| ty), several.iter().map(|(field, ty)| clone_of(field, ty)));
            (quote!((#(#types),*)), quote!((#(#keys),*)))
        }
    };
    let errors = errors.into_tokens();
    let items = quote! {
        type Key = #ty;

        fn key(&self) -> #ty {
            #key
        }
    };
    // rustc reports a missing bound once, at the name of the struct.
    quote_spanned! {name.span()=>
        #[automatically_derived]
        impl #impl_generics #krate::Identity for #name #ty_generics #where_clause {
            #items
        }
        #errors
    }
}

/// Returns the clone of a field. Errors point to the type of the field.
fn clone_of(field: &Member, ty: &Type) -> TokenStream {
    quote_spanned!(generated(ty.span())=> ::core::clone::Clone::clone(&self.#field))
}

/// Returns the fields that are marked as key, and reports an error if there are none.
fn key_fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Vec<(Member, &'a Type)> {
    let Data::Struct(data) = &input.data else {
        errors.on(&input.ident, "only the identity of a struct can be derived; implement `sockets::Identity` instead");
        return Vec::new();
    };
    let mut keys = Vec::new();
    let mut wrong = false;
    for (member, field) in data.fields.members().zip(&data.fields) {
        let mut is_key = false;
        for meta in arguments(&field.attrs, errors) {
            match meta {
                Meta::Path(path) if path.is_ident("key") && !is_key => is_key = true,
                Meta::Path(path) if path.is_ident("key") => errors.on(path, "`key` is set twice; remove one"),
                other => {
                    wrong = true;
                    errors.on(other, "unknown argument; write `#[identity(key)]`");
                }
            }
        }
        if is_key {
            keys.push((member, &field.ty));
        }
    }
    if keys.is_empty() && !wrong {
        match &data.fields {
            Fields::Unit => errors.on(&input.ident, "an identity has a key, and this struct has no fields"),
            _ => errors.on(&input.ident, MARK_A_FIELD),
        }
    }
    keys
}

/// Returns the path of the crate `sockets` from `#[identity(crate = renamed)]` on the struct.
fn crate_path(attrs: &[Attribute], errors: &mut Errors) -> Option<Path> {
    let mut krate = None;
    for meta in arguments(attrs, errors) {
        match &meta {
            Meta::NameValue(pair) if pair.path.is_ident("crate") => match &pair.value {
                syn::Expr::Path(path) => krate = Some(path.path.clone()),
                value => errors.on(value, "`crate` takes a path without quotes, such as `crate = renamed`"),
            },
            Meta::Path(path) if path.is_ident("key") => {
                errors.on(path, "the key is a field; write `#[identity(key)]` on the field");
            }
            other => errors.on(other, "unknown argument; expected `crate = renamed`"),
        }
    }
    krate
}

/// Returns the arguments of all `#[identity(..)]` attributes.
fn arguments(attrs: &[Attribute], errors: &mut Errors) -> Vec<Meta> {
    let mut arguments = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("identity")) {
        match attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
            Ok(parsed) => arguments.extend(parsed),
            Err(error) => errors.push(error),
        }
    }
    arguments
}
