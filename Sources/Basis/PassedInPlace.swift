/// A field of this type makes a large value one that stays where it lies while its methods look at it.
///
/// The compiler hands a value whose layout it knows to a method that changes nothing as a copy, however large it is: a
/// supervisor has three kilobytes, and was copied for a look at one number, once for each message. What holds a value of any
/// type cannot be copied that way, and is handed over by its address.
public struct PassedInPlace: Sendable {
    private let nothing: any Sendable = ()
    /// Holds nothing.
    public init() {}
}
