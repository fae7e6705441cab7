import CoreGraphics
import CoreML
import FeredgeInput
import Foundation

/// The network $NAME as a Core ML program, written by feredge.
public final class Net {
    /// Class names, in the order of the scores.
    public static let classes: [String] = [$CLASSES]
    public static let height = $HEIGHT
    public static let width = $WIDTH
    /// 1: gray, 3: RGB.
    public static let channels = $CHANNELS
    private static let largestCrop = 4  // times the picture's longer side
    private static let goldenImages = $IMAGES
    private static let tolerance: Float = $TOLERANCE

    public enum Failure: Error {
        /// One line: what was expected, and what was found.
        case message(String)
    }

    private let model: MLModel

    /// Load the network. Core ML compiles it, which takes a moment: keep the object.
    public init(configuration: MLModelConfiguration = MLModelConfiguration()) async throws {
        guard let package = Bundle.module.url(forResource: "Net", withExtension: "mlpackage") else {
            throw Failure.message("expected Net.mlpackage among the resources, found none")
        }
        let compiled = try await MLModel.compileModel(at: package)
        model = try await MLModel.load(contentsOf: compiled, configuration: configuration)
    }

    /// Classify the network's input, uint8 [height][width][channels]; return the probability of each class.
    public func predict(pixels: [UInt8]) throws -> [Float] {
        let size = Net.height * Net.width * Net.channels
        guard pixels.count == size else {
            throw Failure.message("expected \(size) bytes, found \(pixels.count)")
        }
        let shape = [1, Net.height, Net.width, Net.channels].map { NSNumber(value: $0) }
        let image = try MLMultiArray(shape: shape, dataType: .float32)
        let values = image.dataPointer.assumingMemoryBound(to: Float32.self)
        for (index, pixel) in pixels.enumerated() {
            values[index] = Float32(pixel)
        }
        let answer = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: ["image": image]))
        guard let scores = answer.featureValue(for: "probabilities")?.multiArrayValue else {
            throw Failure.message("expected probabilities of the model, found none")
        }
        return (0..<scores.count).map { scores[$0].floatValue }
    }

    /// Classify a picture, or the square around a face's box in it, in pixels from the picture's upper left corner.
    public func predict(_ picture: CGImage, box: CGRect? = nil) throws -> [(label: String, confidence: Float)] {
        let scores = try predict(pixels: Net.input(picture, box: box))
        return zip(Net.classes, scores).map { ($0, $1) }.sorted { $0.confidence > $1.confidence }
    }

    /// The network's input of a picture, as feredge's Predictor makes it.
    public static func input(_ picture: CGImage, box: CGRect? = nil) throws -> [UInt8] {
        let columns = picture.width, rows = picture.height
        var rgba = [UInt8](repeating: 0, count: 4 * columns * rows)
        let drawn = rgba.withUnsafeMutableBytes { bytes -> Bool in
            guard
                let space = CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: bytes.baseAddress, width: columns, height: rows, bitsPerComponent: 8,
                    bytesPerRow: 4 * columns, space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(picture, in: CGRect(x: 0, y: 0, width: columns, height: rows))
            return true
        }
        guard drawn else {
            throw Failure.message("expected a picture that can be drawn, found \(columns) x \(rows)")
        }
        let square = try box.map { try crop($0, columns: columns, rows: rows) }
            ?? (left: 0, top: 0, width: columns, height: rows)
        var memory = [UInt8](repeating: 0, count: square.width * square.height * channels)
        var input = [UInt8](repeating: 0, count: height * width * channels)
        feredge_make_input(
            rgba, Int32(rows), Int32(columns), Int32(square.left), Int32(square.top), Int32(square.width),
            Int32(square.height), &memory, &input)
        return input
    }

    /// The square with the box's centre and its longer side.
    private static func crop(
        _ box: CGRect, columns: Int, rows: Int
    ) throws -> (left: Int, top: Int, width: Int, height: Int) {
        let limit = CGFloat(largestCrop * max(columns, rows))
        guard
            box.minX.magnitude <= limit, box.minY.magnitude <= limit, box.width <= limit, box.height <= limit,
            box.width >= 1, box.height >= 1, Int(box.minX) < columns, Int(box.minY) < rows, box.maxX >= 1,
            box.maxY >= 1
        else {
            throw Failure.message("expected a box that overlaps the \(columns) x \(rows) picture, found \(box)")
        }
        let width = Int(box.width.rounded()), height = Int(box.height.rounded()), side = max(width, height)
        let left = Int(box.minX.rounded()) + Int((Double(width - side) / 2).rounded(.down))
        let top = Int(box.minY.rounded()) + Int((Double(height - side) / 2).rounded(.down))
        return (left, top, side, side)
    }

    /// Compare the answers to golden.bin, drawn images, with onnxruntime's: nil, or one line.
    public func selfTest() throws -> String? {
        guard let url = Bundle.module.url(forResource: "golden", withExtension: "bin") else {
            return "expected golden.bin among the resources, found none"
        }
        let golden = [UInt8](try Data(contentsOf: url))
        let size = Net.height * Net.width * Net.channels, count = Net.classes.count
        guard golden.count == Net.goldenImages * (size + 4 * count) else {
            return "expected golden.bin as feredge wrote it, found \(golden.count) bytes"
        }
        for row in 0..<Net.goldenImages {
            let scores = try predict(pixels: Array(golden[row * size..<(row + 1) * size]))
            let start = Net.goldenImages * size + 4 * row * count
            let expected: [Float] = (0..<count).map { index in
                let bytes = golden[(start + 4 * index)..<(start + 4 * index + 4)]
                return Float(bitPattern: bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) })
            }
            if zip(scores, expected).contains(where: { !(abs($0 - $1) <= Net.tolerance) }) {
                return "image \(row): expected \(expected), found \(scores)"
            }
        }
        return nil
    }
}
