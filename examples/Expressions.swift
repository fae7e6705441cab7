// Labels the faces in a picture on an iPhone or a Mac, with the Swift package that this command writes:
//
//     feredge bundle runs/nano --for ios --out nano-ios
//
// Add the package nano-ios to the Xcode project, make `let net = try await Net()` once, and call labelFaces. The tests
// check the syntax, where tree-sitter's Swift grammar is installed; it was not compiled, and no device has run it.
import CoreGraphics
import Feredge
import Vision

struct LabelledFace {
    let box: CGRect // in pixels, from the picture's upper left corner
    let label: String
    let confidence: Float
}

/// Detect the faces in a picture and classify each.
func labelFaces(in picture: CGImage, with net: Net) throws -> [LabelledFace] {
    let detection = VNDetectFaceRectanglesRequest()
    try VNImageRequestHandler(cgImage: picture).perform([detection])
    return try (detection.results ?? []).compactMap { face in
        var box = VNImageRectForNormalizedRect(face.boundingBox, picture.width, picture.height)
        box.origin.y = CGFloat(picture.height) - box.maxY // Vision counts from the lower left corner
        guard let best = try net.predict(picture, box: box).first else { return nil }
        return LabelledFace(box: box, label: best.label, confidence: best.confidence)
    }
}
