// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "Feredge",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Feredge", targets: ["Feredge"])],
    targets: [
        .target(name: "FeredgeInput"),
        .target(
            name: "Feredge",
            dependencies: ["FeredgeInput"],
            resources: [.copy("Resources/Net.mlpackage"), .copy("Resources/golden.bin")]),
    ])
