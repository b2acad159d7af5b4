//! Loops compiled for the widest vector unit of the CPU that runs them.
//!
//! A default build targets any x86-64 processor, whose vectors are four floats wide. [`vectorised!`] compiles a function
//! three times (AVX-512, AVX2, baseline) and picks one at run time, so one binary is fast on a new machine and right on
//! an old one. Results may differ in rounding between the three, never between runs on one machine.

/// Defines functions over one float type whose bodies the compiler vectorises for the CPU at hand. Closures and helpers that a body calls must
/// be `#[inline(always)]`, else they keep the baseline's vectors.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident<$T:ident: $bound:path>($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        $vis fn $name<$T: $bound>($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn portable<$T: $bound>($($arg: $type),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512<$T: $bound>($($arg: $type),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2<$T: $bound>($($arg: $type),*) $(-> $ret)? {
                    portable($($arg),*)
                }
                match $crate::kernels::cpu::vectorised::Level::detect() {
                    #[expect(unsafe_code, reason = "a function compiled for a CPU feature")]
                    // SAFETY: the CPU has the features of this level.
                    $crate::kernels::cpu::vectorised::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    #[expect(unsafe_code, reason = "a function compiled for a CPU feature")]
                    // SAFETY: the CPU has the features of this level.
                    $crate::kernels::cpu::vectorised::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::cpu::vectorised::Level::Baseline => {}
                }
            }
            portable($($arg),*)
        }
    )+};
}

pub(super) use vectorised;

/// The vector units that functions are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Avx512,
    Avx2,
    Baseline,
}

#[cfg(target_arch = "x86_64")]
impl Level {
    /// What this CPU has. The standard library asks it once and remembers.
    #[inline]
    pub(super) fn detect() -> Self {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
        {
            Self::Avx512
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            Self::Avx2
        } else {
            Self::Baseline
        }
    }
}
