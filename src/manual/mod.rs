//! The manual, for people who use aloud; the README is its first page. Each module here is one page.
//!
//! | to | read |
//! |---|---|
//! | say something | [`speaking`] |
//! | hear it, now or later | [`listening`], [`dashboard`] |
//! | have something done when it is said | [`recipes`] |
//! | know how things stand | [`now`], [`hosts`], [`webhooks`], [`health`] |
//! | have only some people use it | [`tokens`], [`proxies`] |
//! | keep it, and spread it | [`keeping`], [`servers`] |
//! | install it, on a small machine too | [`packages`], [`small`] |
//! | know what it can and cannot do | [`limits`], [`questions`] |
//! | change it, or have a newer one | [`contributing`], [`teaching`], [`changes`] |

/// Each page is a file beside this one, readable as it is. Its links lead to files, at its end. Here other targets
/// stand before those, and of two targets for one link the first counts; `tests/readme.rs` compares them.
macro_rules! pages {
    ($($page:ident)*) => {$(
        #[doc = concat!(include_str!("links.txt"), "\n", include_str!(concat!(stringify!($page), ".md")))]
        pub mod $page {}
    )*};
}

pages!(speaking listening recipes now dashboard webhooks hosts tokens health keeping servers proxies packages small limits questions
    contributing teaching changes);
