import Basis
import Testing

@testable import Resources

@Suite struct `A claim` {
    private func claims(_ agent: String, _ parameters: [(String, String)]) -> [Claim] {
        Claim.claims(
            of: ResourcePolicy(name: .init("r"), agent: agent, parameters: parameters.map { .init($0.0, $0.1) }))
    }

    @Test func `is the same however it is written (rule B5)`() {
        func address(_ text: String) -> [Claim] { self.claims("address", [("address", text)]) }
        #expect(address("10.0.0.5/24") == address("10.0.0.5/32"))
        #expect(address("10.0.0.5/24") == self.claims("ocf:heartbeat:IPaddr2", [("ip", "10.0.0.5")]))
        #expect(address("10.0.0.5/24") == address("::ffff:10.0.0.5/128"))
        #expect(address("10.0.0.5/24") != address("10.0.0.50/24"))
        #expect(address("fd00::1/64") == address("FD00:0:0:0::0001/48"))
        #expect(address("fd00::1/64") == address("[fd00::1]"))
        #expect(address("fd00::1/64") != address("fd00:1::1/64"))
        #expect(Claim.address("1:2:3:4:5:6:7:8") == "1:2:3:4:5:6:7:8")
        #expect(Claim.address("::") == "0:0:0:0:0:0:0:0")
        for odd in ["", ":::", "1::2::3", "1:2:3", "10.0.0", "10.0.0.256", "name", "1:2:3:4:5:6:7:8:9"] {
            #expect(Claim.address(odd) == odd, "what is no address stays as it is")
        }
        #expect(Claim.path("/srv//a/./b/../") == "/srv/a")
        #expect(Claim.path("/..") == "/")
        let command = self.claims("exec", [("command", "sleep   infinity\n")])
        #expect(command == [Claim(.service, "sleep infinity")])
        #expect(self.claims("volume", [("volume", "data")]) == [Claim(.volume, "data")])
    }

    @Test func `of a directory meets what lies in it and what it lies in`() {
        let outer = Claim(.mount, "/srv/a")
        #expect(outer.meets(Claim(.mount, "/srv/a/b")) && Claim(.mount, "/srv/a/b").meets(outer))
        #expect(outer.meets(Claim(.mount, "/")) && outer.meets(outer))
        #expect(!outer.meets(Claim(.mount, "/srv/ab")))
        #expect(!outer.meets(Claim(.device, "/srv/a")))
    }
}
